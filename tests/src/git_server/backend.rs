//! One HTTP request to one run of `git http-backend`, by the rules of CGI. Bodies are held in memory, which bounds what
//! can be served: sample repositories are kilobytes.

use std::process::Stdio;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use tokio::io::AsyncWriteExt as _;

use super::{Fault, Hosted, git};

const BODY_LIMIT: usize = 64 * 1024 * 1024;
const REALM: (header::HeaderName, &str) = (header::WWW_AUTHENTICATE, "Basic realm=\"sample repositories\"");

pub(super) fn router(hosted: Hosted) -> Router {
    Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(hosted)
}

/// What a request meets before git sees it.
enum Admission {
    Admitted,
    Unknown,
    Unauthorized,
    Unavailable,
    Hanging,
}

async fn answer(State(hosted): State<Hosted>, request: Request) -> Response {
    match admit(&hosted, &request) {
        Admission::Admitted => run_backend(&hosted, request).await.unwrap_or_else(|error| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response()
        }),
        Admission::Unknown => StatusCode::NOT_FOUND.into_response(),
        Admission::Unauthorized => (StatusCode::UNAUTHORIZED, [REALM]).into_response(),
        Admission::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Admission::Hanging => std::future::pending().await,
    }
}

fn admit(hosted: &Hosted, request: &Request) -> Admission {
    let path = request.uri().path();
    let Some((name, rest)) = path.strip_prefix('/').and_then(|path| path.split_once(".git")) else {
        return Admission::Unknown;
    };
    let mut repositories = hosted.lock();
    let Some(repository) = repositories.get_mut(name) else { return Admission::Unknown };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    repository.requests.push(format!("{} {rest}{query}", request.method()));
    match repository.fault {
        Fault::Hang => return Admission::Hanging,
        Fault::Unavailable { times } if times > 0 => {
            repository.fault = Fault::Unavailable { times: times - 1 };
            return Admission::Unavailable;
        }
        Fault::Unavailable { .. } | Fault::None => {}
    }
    match &repository.token {
        Some(token) if password(request.headers()).as_deref() != Some(token) => Admission::Unauthorized,
        Some(_) | None => Admission::Admitted,
    }
}

fn password(headers: &HeaderMap) -> Option<String> {
    let credentials = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(credentials).ok()?;
    let (_user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

async fn run_backend(hosted: &Hosted, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.context("the request's body")?;
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut backend = git::command(&hosted.bare);
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &hosted.bare)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = backend.spawn().context("git http-backend")?;
    let mut input = child.stdin.take().context("its input")?;
    // Written beside the reading: either pipe may fill up first. A backend that has read enough may close early.
    let writing = async move {
        drop(input.write_all(&body).await);
        drop(input);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), writing);
    to_response(output.context("git http-backend")?.stdout)
}

/// Splits CGI output into status, headers and body.
fn to_response(output: Vec<u8>) -> anyhow::Result<Response> {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    let output = Bytes::from(output);
    let end = output.windows(BLANK_LINE.len()).position(|window| window == BLANK_LINE);
    let end = end.context("git http-backend answered no headers")?;
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end])?.lines() {
        let (name, value) = line.split_once(": ").context("a header without a value")?;
        response = match (name, value.split_once(' ')) {
            ("Status", Some((code, _reason))) => response.status(code),
            _ => response.header(name, value),
        };
    }
    Ok(response.body(Body::from(output.slice(end + BLANK_LINE.len()..)))?)
}
