//! Misbehaviour on demand, so that tests meet what production meets: `/faults` (only where enabled) plants rules that
//! a middleware around every route applies, and counts the requests that came in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(rename = "match")]
    matches: Match,
    #[serde(default = "once")]
    times: u32,
    /// Let this many matching requests pass first.
    #[serde(default)]
    skip: u32,
    action: Action,
}

fn once() -> u32 {
    1
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    #[serde(default)]
    method: Option<String>,
    /// Against the path on the wire; `*` is anything but `/`, `**` anything.
    path_pattern: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Answer this instead of performing the request.
    Answer(Answer),
    /// Perform the request, then answer this.
    AnswerAfter(Answer),
    RateLimit {
        throttler: String,
        retry_after_seconds: u32,
    },
    Delay {
        milliseconds: u64,
    },
    DropConnectionBefore,
    DropConnectionAfter,
    SilentSnapshotFailure,
    /// As `silent_snapshot_failure`, but where a row is there from the beginning it ends in error.
    SnapshotError {
        reason: String,
    },
    LateSnapshotRow {
        milliseconds: u64,
    },
    /// No runner takes the sandbox: refused, or queued where the request has a queueTimeout, until the faults are cleared.
    NoRunner,
    /// The toolbox's proxy can't reach the API, and has nothing in its cache.
    ProxyCannotAsk,
    /// Create answers 400 `Sandbox failed to start: REASON` and the sandbox exists, in error.
    StartError {
        reason: String,
        #[serde(default)]
        recoverable: bool,
    },
    /// The change does not end before the faults are cleared (create, snapshot, delete).
    StuckState,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: serde_json::Value,
}

/// What a route itself must do wrong; travels in the request's extensions.
#[derive(Debug, Clone)]
pub(crate) enum Misbehaviour {
    SilentSnapshotFailure,
    SnapshotError { reason: String },
    NoRunner,
    ProxyCannotAsk,
    LateSnapshotRow(Duration),
    StartError { reason: String, recoverable: bool },
    Stuck,
}

#[derive(Default)]
struct Inner {
    rules: Vec<Rule>,
    requests: BTreeMap<String, u64>,
    events: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Faults {
    inner: Mutex<Inner>,
    cleared: Notify,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the planted faults are cleared: what sticks ends then.
    pub(crate) async fn cleared(&self) {
        self.cleared.notified().await;
    }

    /// Counts something that happened (`sandbox created`...).
    pub(crate) fn count(&self, event: &str) {
        *self.inner().events.entry(event.to_owned()).or_default() += 1;
    }

    fn take(&self, method: &str, path: &str) -> Option<Action> {
        let mut inner = self.inner();
        let position = inner.rules.iter_mut().position(|rule| {
            let method_matches =
                rule.matches.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
            if !method_matches || !glob(&rule.matches.path_pattern, path) {
                return false;
            }
            let passes = rule.skip > 0;
            rule.skip = rule.skip.saturating_sub(1);
            !passes
        })?;
        let rule = &mut inner.rules[position];
        let action = rule.action.clone();
        rule.times = rule.times.saturating_sub(1);
        if rule.times == 0 {
            inner.rules.remove(position);
        }
        Some(action)
    }
}

/// `*` within a segment, `**` across them.
fn glob(pattern: &str, path: &str) -> bool {
    match pattern.find('*') {
        None => pattern == path,
        Some(star) => {
            let Some(rest) = path.strip_prefix(&pattern[..star]) else { return false };
            let after = &pattern[star..];
            let (tail, reach) = match after.strip_prefix("**") {
                Some(tail) => (tail, rest.len()),
                None => (&after[1..], rest.find('/').unwrap_or(rest.len())),
            };
            (0..=reach).filter(|end| rest.is_char_boundary(*end)).any(|end| glob(tail, &rest[end..]))
        }
    }
}

pub(crate) fn routes<S: Clone + Send + Sync + 'static>(faults: Arc<Faults>) -> Router<S> {
    Router::new()
        .route("/faults", post(plant).get(list).delete(clear))
        .route("/faults/requests", get(requests).delete(reset))
        .with_state(faults)
}

async fn plant(State(faults): State<Arc<Faults>>, Json(rule): Json<Rule>) -> StatusCode {
    faults.inner().rules.push(rule);
    StatusCode::CREATED
}

async fn list(State(faults): State<Arc<Faults>>) -> Response {
    Json(faults.inner().rules.clone()).into_response()
}

async fn clear(State(faults): State<Arc<Faults>>) -> StatusCode {
    faults.inner().rules.clear();
    faults.cleared.notify_waiters();
    StatusCode::NO_CONTENT
}

async fn requests(State(faults): State<Arc<Faults>>) -> Response {
    let inner = faults.inner();
    Json(serde_json::json!({ "requests": inner.requests, "events": inner.events })).into_response()
}

async fn reset(State(faults): State<Arc<Faults>>) -> StatusCode {
    let mut inner = faults.inner();
    inner.requests.clear();
    inner.events.clear();
    StatusCode::NO_CONTENT
}

/// Around every route of the API and the toolbox.
pub(crate) async fn apply(State(faults): State<Arc<Faults>>, mut request: Request, next: Next) -> Response {
    let method = request.method().to_string();
    if let Some(path) = request.extensions().get::<MatchedPath>() {
        *faults.inner().requests.entry(format!("{method} {}", path.as_str())).or_default() += 1;
    }
    let Some(action) = faults.take(&method, request.uri().path()) else {
        return next.run(request).await;
    };
    let misbehaviour = match action {
        Action::Answer(answer) => return answer.into_response(),
        Action::AnswerAfter(answer) => {
            next.run(request).await;
            return answer.into_response();
        }
        Action::RateLimit { throttler, retry_after_seconds } => {
            return rate_limited(&throttler, retry_after_seconds);
        }
        Action::Delay { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            return next.run(request).await;
        }
        Action::DropConnectionBefore => drop_connection(),
        Action::DropConnectionAfter => {
            next.run(request).await;
            drop_connection()
        }
        Action::ProxyCannotAsk => Misbehaviour::ProxyCannotAsk,
        Action::SnapshotError { reason } => Misbehaviour::SnapshotError { reason },
        Action::NoRunner => Misbehaviour::NoRunner,
        Action::SilentSnapshotFailure => Misbehaviour::SilentSnapshotFailure,
        Action::LateSnapshotRow { milliseconds } => {
            Misbehaviour::LateSnapshotRow(Duration::from_millis(milliseconds))
        }
        Action::StartError { reason, recoverable } => Misbehaviour::StartError { reason, recoverable },
        Action::StuckState => Misbehaviour::Stuck,
    };
    request.extensions_mut().insert(misbehaviour);
    next.run(request).await
}

/// Ends the connection's task, which closes the socket without an answer. Not a panic: no hook runs, nothing is printed.
fn drop_connection() -> ! {
    std::panic::resume_unwind(Box::new("connection dropped on demand"))
}

/// With this one header and no `X-RateLimit-*`, as it was seen at a create.
fn rate_limited(throttler: &str, seconds: u32) -> Response {
    let mut headers = BTreeMap::new();
    headers.insert(format!("retry-after-{throttler}"), seconds.to_string());
    let body = serde_json::json!({ "statusCode": 429, "error": "Too Many Requests", "message": "ThrottlerException: Too Many Requests" });
    Answer { status: 429, headers, body }.into_response()
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match self.body {
            serde_json::Value::Null => status.into_response(),
            serde_json::Value::String(text) => (status, text).into_response(),
            body @ (serde_json::Value::Object(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)) => (status, Json(body)).into_response(),
        };
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        assert!(glob("/api/sandbox/*/snapshot", "/api/sandbox/a-b/snapshot"));
        assert!(!glob("/api/sandbox/*", "/api/sandbox/a/snapshot"));
        assert!(glob("/toolbox/**", "/toolbox/a/process/execute"));
        assert!(glob("/api/snapshots/hv.*.w", "/api/snapshots/hv.a.b.w"));
        assert!(!glob("/api/sandbox", "/api/sandboxes"));
    }
}
