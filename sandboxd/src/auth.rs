//! Who asks: the API key in the Authorization header, its one organization, its permissions.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::settings::{ApiKey, Permission};

/// The key a request came with.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Arc<ApiKey>);

impl Caller {
    pub(crate) fn organization(&self) -> &str {
        &self.0.organization
    }

    pub(crate) fn may(&self, permission: Permission) -> Result<(), ApiError> {
        if self.0.permissions.contains(&permission) { Ok(()) } else { Err(ApiError::Forbidden) }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Unauthorized)
    }
}

/// Lets only known keys through.
pub(crate) async fn require(
    State(keys): State<Arc<[ApiKey]>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(ApiError::Unauthorized)?;
    // Digests are compared, so that the time taken tells nothing of a key.
    let digest = Sha256::digest(given);
    let key = keys
        .iter()
        .find(|key| Sha256::digest(key.secret.expose_secret()) == digest)
        .ok_or(ApiError::Unauthorized)?;
    request.extensions_mut().insert(Caller(Arc::new(key.clone())));
    Ok(next.run(request).await)
}
