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
use sandboxd::{ApiKey, Manner, Settings};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

mod schemas;
mod sdks;

use schemas::Schemas;

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
    async fn start(manner: Manner) -> anyhow::Result<Self> {
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
        settings.manner = manner;
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
    async fn drive(&self, script: &mut Command) -> anyhow::Result<()> {
        script
            .env("DAYTONA_API_URL", &self.recorded)
            .env("DAYTONA_API_KEY", KEY)
            .env("DAYTONA_TARGET", "local");
        run(script).await
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

/// As the scripts are told.
fn name(manner: Manner) -> &'static str {
    match manner {
        Manner::V0_190 => "v0.190",
        Manner::V0_226 => "v0.226",
    }
}

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contract")
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

/// What every version of an SDK asks for, whatever it is driven by.
const ALWAYS: &[&str] = &["POST /sandbox", "GET /sandbox/{sandboxIdOrName}", "GET /snapshots/{id}"];

async fn python_drives(version: &str, manner: Manner, more: &[&str]) -> anyhow::Result<()> {
    let run = Run::start(manner).await?;
    let mut script = Command::new(sdks::python(version).await?);
    script.arg(contract().join("sdk_python.py")).arg(format!("file://{}", run.repository.display()));
    run.drive(script.arg(name(manner))).await?;
    let wanted = [
        "GET /sandbox",
        "DELETE /sandbox/{sandboxIdOrName}",
        "PUT /sandbox/{sandboxIdOrName}/labels",
        "POST /sandbox/{sandboxIdOrName}/snapshot",
        "GET /snapshots",
        "POST /sandbox/{sandboxIdOrName}/stop",
        "POST /sandbox/{sandboxIdOrName}/start",
        "POST /sandbox/{sandboxIdOrName}/autostop/{interval}",
    ];
    check_recorded(&run.end().await?, &[ALWAYS, &wanted, more].concat());
    Ok(())
}

async fn typescript_drives(version: &str, manner: Manner) -> anyhow::Result<()> {
    let run = Run::start(manner).await?;
    let mut script = Command::new("node");
    script
        .arg(contract().join("sdk.mjs"))
        .arg(format!("file://{}", run.repository.display()))
        .arg(sdks::node_modules(version).await?)
        .arg(name(manner));
    run.drive(&mut script).await?;
    check_recorded(&run.end().await?, ALWAYS);
    Ok(())
}

const TTL: &str = "POST /sandbox/{sandboxIdOrName}/ttl/{ttlMinutes}";

#[tokio::test]
async fn the_python_sdk_0_205_drives_both_manners() -> anyhow::Result<()> {
    python_drives("0.205.1", Manner::V0_190, &[]).await?;
    python_drives("0.205.1", Manner::V0_226, &[TTL]).await
}

#[tokio::test]
async fn the_python_sdk_0_226_drives_sandboxd() -> anyhow::Result<()> {
    python_drives("0.226.1", Manner::V0_226, &[TTL]).await
}

#[tokio::test]
async fn the_typescript_sdk_0_205_drives_both_manners() -> anyhow::Result<()> {
    typescript_drives("0.205.1", Manner::V0_190).await?;
    typescript_drives("0.205.1", Manner::V0_226).await
}

#[tokio::test]
async fn the_typescript_sdk_0_218_drives_sandboxd() -> anyhow::Result<()> {
    typescript_drives("0.218.0", Manner::V0_226).await
}

#[tokio::test]
async fn other_answers_fit_the_schemas() -> anyhow::Result<()> {
    let run = Run::start(Manner::V0_226).await?;
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
