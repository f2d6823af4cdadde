//! One HTTP request to one run of `git http-backend`, by the rules of CGI. Bodies are held in memory, which bounds what
//! can be served: sample repositories are kilobytes.

use std::process::Stdio;
use std::sync::PoisonError;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use tokio::io::AsyncWriteExt as _;

use super::{Fault, Hosted, ShownPassword, git, lfs};

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
    MovedTo(String),
    /// A request for Git LFS, of this repository.
    Lfs(String),
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
        // As hosts do: 301 for what is only read, 307 so that a POST stays one.
        Admission::MovedTo(location) => {
            let status = match request.method().as_str() {
                "GET" => StatusCode::MOVED_PERMANENTLY,
                _ => StatusCode::TEMPORARY_REDIRECT,
            };
            (status, [(header::LOCATION, location)]).into_response()
        }
        Admission::Lfs(name) => lfs::answer(&hosted, &name, request).await.unwrap_or_else(|error| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response()
        }),
    }
}

/// The path as the most obliging host reads it: everything decoded, slashes merged, dots followed. Whoever compares URLs
/// less thoroughly than this sends a token where it does not belong.
fn obliging(path: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            plain => segments.push(plain),
        }
    }
    format!("/{}", segments.join("/"))
}

fn admit(hosted: &Hosted, request: &Request) -> Admission {
    let shown = password(request.headers());
    if let Some(password) = shown.clone() {
        let mut passwords = hosted.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        passwords.push(ShownPassword { path: request.uri().path().to_owned(), password });
    }
    let path = obliging(request.uri().path());
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
    if let Some(base) = &repository.moved_to {
        return Admission::MovedTo(format!("{base}/{name}.git{rest}{query}"));
    }
    match &repository.token {
        Some(token) if shown.as_deref() != Some(token) => Admission::Unauthorized,
        Some(_) | None if rest.starts_with("/info/lfs/") => Admission::Lfs(name.to_owned()),
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
        .env("PATH_INFO", obliging(parts.uri.path()))
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
