//! Who asks: the token in the Authorization header, its one organization, its permissions.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::lockout;
use crate::server::Server;
use crate::settings::{ApiKey, Permission, TokenKind};

/// The token a request came with.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) key: Arc<ApiKey>,
}

impl Caller {
    pub(crate) fn organization(&self) -> &str {
        &self.key.organization
    }

    pub(crate) fn may(&self, permission: Permission) -> Result<(), ApiError> {
        if self.key.permissions.contains(&permission) { Ok(()) } else { Err(ApiError::Forbidden) }
    }

    /// Some routes are for people who logged in. An API key is refused there as a wrong one is.
    pub(crate) fn is_logged_in(&self) -> Result<(), ApiError> {
        match self.key.kind {
            TokenKind::LoggedIn => Ok(()),
            TokenKind::ApiKey => Err(ApiError::Unauthorized),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Unauthorized)
    }
}

/// The bearer token of a request.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// What a token is remembered by.
pub(crate) fn digest(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// Whose token it is. Digests are compared, so that the time taken tells nothing of a key.
pub(crate) fn find(keys: &[ApiKey], token: &str) -> Option<Caller> {
    let digest = Sha256::digest(token);
    let key = keys.iter().find(|key| Sha256::digest(key.secret.expose_secret()) == digest)?;
    Some(Caller { key: Arc::new(key.clone()) })
}

/// Lets only known tokens into the API, and counts every answer that says a token failed, whoever gave it.
pub(crate) async fn require(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let address = lockout::address(&request);
    let caller = token(request.headers()).and_then(|token| find(&server.settings.api_keys, token));
    let Some(caller) = caller else {
        return server.lockouts.refuse(address, ApiError::Unauthorized.into_response());
    };
    request.extensions_mut().insert(caller);
    let answer = next.run(request).await;
    if answer.status() == axum::http::StatusCode::UNAUTHORIZED {
        return server.lockouts.refuse(address, answer);
    }
    answer
}

/// Before anything of the API is looked at, the key least of all.
pub(crate) async fn enforce_lockout(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    match server.lockouts.locked(lockout::address(&request)) {
        Some(left) => server.lockouts.locked_out(left),
        None => next.run(request).await,
    }
}
