//! A server to test against, and a client that says what it got when it didn't get what it wanted.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use sandboxd::{ApiKey, FaultInjection, Settings, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const KEY: &str = "test-key";
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
}

impl Client {
    pub(crate) fn new(base: String) -> Self {
        Self { http: reqwest::Client::new(), base }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY).json(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::DELETE, path, &Value::Null).await
    }

    /// Creates a sandbox and waits until it is started; its id.
    pub(crate) async fn sandbox(&self, wanted: &Value) -> String {
        let (status, row) = self.post("/api/sandbox", wanted).await;
        assert_eq!((status, row["state"].as_str()), (StatusCode::OK, Some("creating")), "{row}");
        let id = row["id"].as_str().unwrap().to_owned();
        self.reaches(&id, "started").await;
        id
    }

    pub(crate) async fn reaches(&self, sandbox: &str, state: &str) {
        self.eventually(&format!("/api/sandbox/{sandbox}"), |_, row| row["state"] == state).await;
    }

    pub(crate) async fn gone(&self, path: &str) {
        self.eventually(path, |status, _| status == StatusCode::NOT_FOUND).await;
    }

    pub(crate) async fn eventually(&self, path: &str, wanted: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (status, answer) = self.get(path).await;
            if wanted(status, &answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} last answered {status} {answer}");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn execute(&self, sandbox: &str, command: &str) -> (i64, String) {
        self.execute_with(sandbox, &json!({ "command": command, "timeout": 60 })).await
    }

    /// The toolbox goes by the id alone.
    pub(crate) async fn execute_named(&self, name: &str, command: &str) -> (i64, String) {
        let (_, row) = self.get(&format!("/api/sandbox/{name}")).await;
        self.execute(row["id"].as_str().unwrap(), command).await
    }

    pub(crate) async fn execute_with(&self, sandbox: &str, request: &Value) -> (i64, String) {
        let (status, answer) = self.post(&format!("/toolbox/{sandbox}/process/execute"), request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        (answer["exitCode"].as_i64().unwrap(), answer["result"].as_str().unwrap().to_owned())
    }

    /// Captures `sandbox` and waits for the snapshot; its id.
    pub(crate) async fn snapshot(&self, sandbox: &str, name: &str) -> String {
        let (status, row) =
            self.post(&format!("/api/sandbox/{sandbox}/snapshot"), &json!({ "name": name })).await;
        assert_eq!((status, row["state"].as_str()), (StatusCode::OK, Some("snapshotting")), "{row}");
        let row = self.eventually(&format!("/api/snapshots/{name}"), |_, row| row["state"] == "active").await;
        self.reaches(sandbox, "started").await;
        row["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) data: tempfile::TempDir,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), sandboxd::Error>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Settings)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(data.path());
        settings.api_keys = vec![ApiKey::full(KEY)];
        settings.faults = FaultInjection::Enabled;
        settings.tick = Duration::from_millis(20);
        adjust(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(format!("http://{}", listener.local_addr().unwrap()));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(settings, listener, shutdown.clone()));
        Self { client, data, shutdown, serving }
    }

    /// Waits until files are gone: they are removed after the answer that their owner is.
    pub(crate) async fn removes(&self, path: &Path) {
        let deadline = Instant::now() + DEADLINE;
        while path.exists() {
            assert!(Instant::now() < deadline, "{} is still there", path.display());
            tokio::task::yield_now().await;
        }
    }

    /// Shuts down in order and says that nothing of any sandbox is left.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
        let left: Vec<_> = std::fs::read_dir(self.data.path().join("sandboxes")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.data.path().to_str().unwrap()), "{mounts}");
    }
}
