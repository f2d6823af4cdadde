//! sandboxd against Daytona's public contract: the official SDKs drive it through a proxy that records, and every
//! answer recorded, and those of the toolbox, must fit the schemas of the OpenAPI files in `contract/`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use fleet_tests::started;
use reqwest::Method;
use sandboxd::{ApiKey, Settings};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const KEY: &str = "contract-key";
/// Of a person who logged in: some routes are not for keys.
const JWT: &str = "contract-jwt";

/// One answered request.
struct Answered {
    method: String,
    path: String,
    status: u16,
    body: Value,
}

#[derive(Clone)]
struct Recorder {
    http: reqwest::Client,
    server: String,
    answered: Arc<Mutex<Vec<Answered>>>,
}

/// Passes API requests on and keeps what was answered. The toolbox is reached directly: its address is in the answers.
async fn record(State(recorder): State<Recorder>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
    let url = format!("{}{}", recorder.server, parts.uri.path_and_query().unwrap());
    let mut passed = recorder.http.request(parts.method, url).body(body);
    for (name, value) in
        parts.headers.iter().filter(|(name, _)| !["host", "connection", "upgrade"].contains(&name.as_str()))
    {
        passed = passed.header(name, value);
    }
    let answer = passed.send().await.unwrap();
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type").cloned();
    let bytes: Bytes = answer.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    recorder.answered.lock().unwrap().push(Answered { method, path, status, body });
    let mut response = Response::builder().status(status);
    if let Some(content_type) = content_type {
        response = response.header("content-type", content_type);
    }
    response.body(Body::from(bytes)).unwrap()
}

struct Run {
    server: String,
    recorded: String,
    recorder: Recorder,
    repository: PathBuf,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), sandboxd::Error>>,
    _folder: tempfile::TempDir,
}

impl Run {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let repository = folder.path().join("exposed/repository");
        std::fs::create_dir_all(&repository)?;
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &[
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.invalid",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "first",
            ],
        ] {
            let status = Command::new("git").arg("-C").arg(&repository).args(arguments).status().await?;
            anyhow::ensure!(status.success(), "git {arguments:?}");
        }
        let mut settings = Settings::new(folder.path().join("data"));
        settings.api_keys = vec![ApiKey::full(KEY), ApiKey::logged_in(JWT)];
        settings.expose_read_only = vec![folder.path().join("exposed").into()];
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        started::count("sandboxd servers in tests' own processes");
        let serving = tokio::spawn(sandboxd::serve(settings, listener, shutdown.clone()));
        let recorder =
            Recorder { http: reqwest::Client::new(), server: server.clone(), answered: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxied = format!("http://{}/api", listener.local_addr()?);
        let proxy = axum::Router::new().fallback(record).with_state(recorder.clone());
        let stop = shutdown.clone();
        tokio::spawn(
            axum::serve(listener, proxy).with_graceful_shutdown(stop.cancelled_owned()).into_future(),
        );
        Ok(Self { server, recorded: proxied, recorder, repository, shutdown, serving, _folder: folder })
    }

    /// Runs an SDK script against the recording proxy.
    async fn drive(&self, mut script: Command) -> anyhow::Result<()> {
        script
            .env("DAYTONA_API_URL", &self.recorded)
            .env("DAYTONA_API_KEY", KEY)
            .env("DAYTONA_TARGET", "local");
        run(&mut script).await
    }

    async fn end(self) -> anyhow::Result<Vec<Answered>> {
        self.shutdown.cancel();
        self.serving.await??;
        Ok(std::mem::take(&mut self.recorder.answered.lock().unwrap()))
    }
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{command:?}"))?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "ended with {}:\n{text}", output.status);
    Ok(())
}

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contract")
}

/// Where the SDKs are installed once: beside the build, never in the repository.
fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(name)
}

async fn python() -> anyhow::Result<PathBuf> {
    let venv = installed("contract-py");
    let marker = venv.join("installed-0.205.1");
    if !marker.exists() {
        let python = if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv))
            .await
            .context("python3 -m venv (package python3-venv)")?;
        run(Command::new(venv.join("bin/pip"))
            // Nothing outside the build directory is written.
            .args(["install", "-q", "--no-cache-dir", "-r"])
            .arg(contract().join("requirements.txt")))
        .await?;
        std::fs::write(marker, "")?;
    }
    Ok(venv.join("bin/python"))
}

async fn node_modules() -> anyhow::Result<PathBuf> {
    let folder = installed("contract-js");
    let marker = folder.join("installed-0.205.1");
    if !marker.exists() {
        std::fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(contract().join(file), folder.join(file))?;
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder))
        .await?;
        std::fs::write(marker, "")?;
    }
    Ok(folder)
}

/// The OpenAPI files as one JSON schema: `nullable` becomes a type of its own.
struct Schemas {
    document: Value,
}

impl Schemas {
    fn read() -> Self {
        let text = std::fs::read_to_string(contract().join("openapi-min.json")).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        widen(&mut document);
        Self { document }
    }

    /// Checks `answered` against the schema of its operation; the operation's path, or none where it has no schema.
    fn check(&self, file: &str, answered: &Answered) -> Option<String> {
        let paths = self.document[file]["paths"].as_object().unwrap();
        let segments: Vec<&str> = answered.path.split('/').collect();
        let (template, operations) = paths
            .iter()
            .filter(|(template, _)| fits(template, &segments))
            .min_by_key(|(template, _)| template.matches('{').count())?;
        let answers = &operations[answered.method.to_lowercase()]["responses"];
        // Daytona answers 201 where its documents have 200.
        let status = match (answered.status, &answers["201"]) {
            (201, Value::Null) => 200,
            (status, _) => status,
        };
        let answer = &answers[status.to_string()];
        let schema =
            if file == "api" { &answer["content"]["application/json"]["schema"] } else { &answer["schema"] };
        if schema.is_null() {
            return None;
        }
        let mut root = schema.clone();
        let shared = if file == "api" { "components" } else { "definitions" };
        root[shared] = self.document[file][shared].clone();
        let validator = jsonschema::validator_for(&root).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&answered.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "{} {} does not fit {template}: {errors:#?}\n{:#}",
            answered.method,
            answered.path,
            answered.body
        );
        Some(format!("{} {template}", answered.method))
    }
}

fn fits(template: &str, segments: &[&str]) -> bool {
    let wanted: Vec<&str> = template.split('/').collect();
    wanted.len() == segments.len()
        && wanted.iter().zip(segments).all(|(want, got)| want.starts_with('{') || want == got)
}

fn widen(schema: &mut Value) {
    if schema["nullable"] == json!(true) {
        let mut plain = schema.take();
        plain.as_object_mut().unwrap().remove("nullable");
        widen(&mut plain);
        *schema = json!({ "anyOf": [plain, { "type": "null" }] });
        return;
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(widen),
        Value::Array(items) => items.iter_mut().for_each(widen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Checks what the proxy recorded, and that each of the `wanted` operations was among it.
fn check_recorded(answered: &[Answered], wanted: &[&str]) {
    let schemas = Schemas::read();
    let mut seen = std::collections::BTreeSet::new();
    for answer in answered {
        let inside = Answered {
            method: answer.method.clone(),
            path: answer.path.strip_prefix("/api").unwrap_or(&answer.path).to_owned(),
            status: answer.status,
            body: answer.body.clone(),
        };
        seen.extend(schemas.check("api", &inside));
    }
    for operation in wanted {
        assert!(seen.contains(*operation), "{operation} was never checked: {seen:#?}");
    }
}

#[tokio::test]
async fn the_python_sdk_drives_sandboxd() -> anyhow::Result<()> {
    let run = Run::start().await?;
    let mut script = Command::new(python().await?);
    script.arg(contract().join("sdk_python.py")).arg(format!("file://{}", run.repository.display()));
    run.drive(script).await?;
    check_recorded(
        &run.end().await?,
        &[
            "POST /sandbox",
            "GET /sandbox",
            "GET /sandbox/{sandboxIdOrName}",
            "DELETE /sandbox/{sandboxIdOrName}",
            "PUT /sandbox/{sandboxIdOrName}/labels",
            "POST /sandbox/{sandboxIdOrName}/snapshot",
            "GET /snapshots",
            "GET /snapshots/{id}",
            "POST /sandbox/{sandboxIdOrName}/stop",
            "POST /sandbox/{sandboxIdOrName}/start",
            "POST /sandbox/{sandboxIdOrName}/ttl/{ttlMinutes}",
            "POST /sandbox/{sandboxIdOrName}/autostop/{interval}",
        ],
    );
    Ok(())
}

#[tokio::test]
async fn the_typescript_sdk_drives_sandboxd() -> anyhow::Result<()> {
    let run = Run::start().await?;
    let mut script = Command::new("node");
    script
        .arg(contract().join("sdk.mjs"))
        .arg(format!("file://{}", run.repository.display()))
        .arg(node_modules().await?);
    run.drive(script).await?;
    check_recorded(
        &run.end().await?,
        &["POST /sandbox", "GET /sandbox/{sandboxIdOrName}", "GET /snapshots/{id}"],
    );
    Ok(())
}

#[tokio::test]
async fn other_answers_fit_the_schemas() -> anyhow::Result<()> {
    let run = Run::start().await?;
    let schemas = Schemas::read();
    let ask =
        async |file: &str, base: &str, method: Method, path: &str, body: Value| -> anyhow::Result<Value> {
            let request = run.recorder.http.request(method.clone(), format!("{}{base}{path}", run.server));
            let token = if path.ends_with("/usage") { JWT } else { KEY };
            let answer = request.bearer_auth(token).json(&body).send().await?;
            let status = answer.status().as_u16();
            let body = serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null);
            let path = path.split('?').next().unwrap_or_default().to_owned();
            let answered = Answered { method: method.to_string(), path, status, body };
            anyhow::ensure!(
                schemas.check(file, &answered).is_some(),
                "{method} {} answered {status}, which has no schema",
                answered.path
            );
            Ok(answered.body)
        };
    let row = ask("api", "/api", Method::POST, "/sandbox", json!({})).await?;
    for path in ["/config", "/regions", "/api-keys/current", "/sandbox", "/snapshots"] {
        ask("api", "/api", Method::GET, path, Value::Null).await?;
    }
    let organization = row["organizationId"].as_str().context("organization")?;
    ask("api", "/api", Method::GET, &format!("/organizations/{organization}/usage"), Value::Null).await?;
    let toolbox = format!("/toolbox/{}", row["id"].as_str().context("id")?);
    for path in [
        "/version",
        "/work-dir",
        "/user-home-dir",
        "/files?path=/",
        "/files/info?path=/tmp",
        "/files/info?path=/none",
        "/process/session",
    ] {
        ask("toolbox", &toolbox, Method::GET, path, Value::Null).await?;
    }
    ask(
        "toolbox",
        &toolbox,
        Method::POST,
        "/process/execute",
        json!({ "command": "git init -q /workspace/r" }),
    )
    .await?;
    ask("toolbox", &toolbox, Method::POST, "/process/execute", json!({ "command": "sleep 9", "timeout": 1 }))
        .await?;
    ask("toolbox", &toolbox, Method::POST, "/process/execute", json!({ "command": "" })).await?;
    ask("toolbox", &toolbox, Method::GET, "/git/status?path=/workspace/r", Value::Null).await?;
    run.end().await?;
    Ok(())
}
