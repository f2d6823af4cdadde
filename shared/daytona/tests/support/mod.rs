//! A Daytona that answers by script: per endpoint a list of answers, of which the last stays, and a record of
//! every request. It listens on a free port and ends with the test's runtime.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use daytona::{Backoff, Client, ClientSettings, DaytonaSection};
use serde_json::{Value, json};
use url::Url;

pub(crate) const KEY: &str = "dtn_0123456789abcdef";

#[derive(Clone)]
pub(crate) enum Reply {
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    Hang,
}

impl Reply {
    pub(crate) fn header(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name, value.to_owned()));
                Self::Answer { status, headers, body }
            }
            Self::Hang => Self::Hang,
        }
    }
}

pub(crate) fn json_reply(status: u16, body: &Value) -> Reply {
    raw(status, body.to_string())
}

pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Answer { status, headers: vec![], body: body.into() }
}

pub(crate) fn refusal(status: u16, message: &str) -> Reply {
    json_reply(status, &json!({ "path": "/api", "statusCode": status, "error": "x", "message": message }))
}

pub(crate) fn sandbox(id: &str, state: &str) -> Reply {
    json_reply(200, &sandbox_json(id, state))
}

pub(crate) fn sandbox_json(id: &str, state: &str) -> Value {
    json!({
        "id": id, "organizationId": "o1", "name": format!("name-{id}"), "user": "harvest",
        "env": { "SECRET_OF_OTHERS": "leak-me-not" }, "labels": {}, "public": false, "networkBlockAll": false,
        "target": "eu", "cpu": 2, "gpu": 0, "memory": 4, "disk": 10, "state": state, "toolboxProxyUrl": "",
        "errorReason": if state == "error" { json!("disk full") } else { Value::Null },
    })
}

pub(crate) fn snapshot(name: &str, state: &str, created: &str, source: Option<&str>) -> Reply {
    json_reply(200, &snapshot_json(name, state, created, source))
}

pub(crate) fn snapshot_json(name: &str, state: &str, created: &str, source: Option<&str>) -> Value {
    json!({
        "id": format!("id-{name}"), "general": false, "name": name, "state": state, "size": null,
        "entrypoint": null, "cpu": 2, "gpu": 0, "mem": 4, "disk": 10, "errorReason": null,
        "createdAt": created, "updatedAt": created, "lastUsedAt": null, "sourceSandboxId": source,
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) endpoint: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    script: Arc<Mutex<BTreeMap<String, VecDeque<Reply>>>>,
    requests: Arc<Mutex<Vec<Recorded>>>,
    address: Option<SocketAddr>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self { address: Some(listener.local_addr().unwrap()), ..Self::default() };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        fake
    }

    /// What `endpoint` (`GET /sandbox/x`, below `/api`) answers, in order; the last answer stays.
    pub(crate) fn on(&self, endpoint: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.script.lock().unwrap().insert(endpoint.to_owned(), replies.into_iter().collect());
        self
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, endpoint: &str) -> usize {
        self.requests().iter().filter(|request| request.endpoint == endpoint).count()
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address.unwrap()).parse().unwrap()
    }

    pub(crate) fn settings(&self) -> ClientSettings {
        let fast = Backoff::constant(Duration::from_millis(2), 1.5, Duration::from_millis(10));
        let mut settings = settings_of(self.url("/api/"), KEY);
        settings.repeat_pace = fast;
        settings.state_pace = fast;
        settings.capture_pace = fast;
        settings
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.settings()).unwrap()
    }
}

/// The Daytona API at `url`, opened by `key`, in its default region.
pub(crate) fn settings_of(api_url: Url, key: &str) -> ClientSettings {
    let request_timeout = Duration::from_secs(30);
    let refused_key_pause = Duration::from_secs(30);
    ClientSettings::new(
        DaytonaSection { api_url, target: String::new(), request_timeout, refused_key_pause },
        key.into(),
    )
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let path = path.strip_prefix("/api/").map_or(path.to_owned(), |path| format!("/{path}"));
    let endpoint = format!("{} {path}", parts.method);
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    fake.requests.lock().unwrap().push(Recorded {
        endpoint: endpoint.clone(),
        query,
        headers: parts.headers,
        body,
    });
    let reply = {
        let mut script = fake.script.lock().unwrap();
        script.get_mut(&endpoint).and_then(|replies| {
            if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
        })
    };
    match reply {
        None => Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .body(Body::from(format!("no script for {endpoint}")))
            .unwrap(),
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Answer { status, headers, body }) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
    }
}
