//! Git hosts that are not the fleet's own: one that redirects, and the one behind it, which writes down what it is given.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What a request carried.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
}

/// What a host does with a request.
#[derive(Debug, Clone)]
enum Manner {
    /// Has the repositories of the host at `of`, and asks nobody for a token: whoever comes goes on, with all it carries.
    Copy { of: String, token: String },
    /// Sends everybody there.
    Redirect { to: String },
    /// Sends git there, and answers everybody else with what the host at `for_others` says.
    RedirectGit { to: String, for_others: String },
}

pub(super) struct Host {
    pub(super) address: String,
    carried: Arc<Mutex<Vec<Carried>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Host {
    pub(super) async fn copying(of: String, token: String) -> Self {
        Self::serve(Manner::Copy { of, token }).await
    }

    pub(super) async fn redirecting(to: &Self) -> Self {
        Self::serve(Manner::Redirect { to: to.address.clone() }).await
    }

    pub(super) async fn redirecting_git(to: &Self, for_others: String) -> Self {
        Self::serve(Manner::RedirectGit { to: to.address.clone(), for_others }).await
    }

    /// What was carried to it so far.
    pub(super) fn carried(&self) -> Vec<Carried> {
        self.carried.lock().unwrap().clone()
    }

    async fn serve(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let carried: Arc<Mutex<Vec<Carried>>> = Arc::default();
        let router = Router::new().fallback(answer).with_state((manner, carried.clone()));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, carried, _serving: AbortOnDropHandle::new(serving) }
    }
}

type Known = (Manner, Arc<Mutex<Vec<Carried>>>);

async fn answer(State((manner, carried)): State<Known>, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let authorization = text(&request, header::AUTHORIZATION);
    // The worker calls itself git as well, with its name behind it.
    let is_git = text(&request, header::USER_AGENT).is_some_and(|agent| !agent.contains("harvest"));
    carried.lock().unwrap().push(Carried { path: path.clone(), authorization });
    match manner {
        Manner::Copy { of, token } => pass_on(&format!("{of}{path}"), request, Some(&token)).await,
        Manner::Redirect { to } => redirect(&to, &path),
        Manner::RedirectGit { to, .. } if is_git => redirect(&to, &path),
        Manner::RedirectGit { for_others, .. } => {
            pass_on(&format!("{for_others}{path}"), request, None).await
        }
    }
}

fn redirect(to: &str, path: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, format!("{to}{path}"))]).into_response()
}

/// With this token in place of the request's own, where there is one.
async fn pass_on(url: &str, request: Request, token: Option<&str>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    if token.is_some() {
        headers.remove(header::AUTHORIZATION);
    }
    let mut passed = reqwest::Client::new().request(parts.method, url).headers(headers).body(body);
    if let Some(token) = token {
        passed = passed.basic_auth("x-access-token", Some(token));
    }
    let Ok(answer) = passed.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let mut response = Response::new(Body::from(answer.bytes().await.unwrap_or_else(|_| Bytes::new())));
    *response.status_mut() = status;
    response.headers_mut().extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    response
}

fn text(request: &Request, name: header::HeaderName) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
