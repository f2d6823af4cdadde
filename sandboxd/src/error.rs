//! Every refusal with the status and the words that Daytona uses, since clients decide by both.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::rows::now;

const LIMITS: &str = "To increase concurrency limits, upgrade your organization's Tier by visiting https://app.daytona.io/dashboard/limits.";

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("Invalid credentials")]
    Unauthorized,
    #[error("Access denied")]
    Forbidden,
    #[error("Sandbox with ID or name {0} not found")]
    NoSandbox(String),
    #[error("Snapshot {0} not found")]
    NoSnapshot(String),
    #[error("Organization with ID {0} not found")]
    NoOrganization(String),
    #[error("Cannot {method} {path}")]
    NoRoute { method: String, path: String },
    #[error("Snapshot {0} not found. Did you add it through the Daytona Dashboard?")]
    UnknownSnapshot(String),
    #[error("Snapshot {name} is {state}")]
    SnapshotNotActive { name: String, state: &'static str },
    #[error("Cannot specify Sandbox resources when using a snapshot")]
    ResourcesWithSnapshot,
    #[error("{0}")]
    Invalid(&'static str),
    #[error("Invalid request body")]
    Body,
    #[error("Sandbox with name {0} already exists")]
    SandboxNameTaken(String),
    #[error("Snapshot with name \"{0}\" already exists for this organization")]
    SnapshotNameTaken(String),
    #[error("Sandbox state change in progress")]
    StateChange,
    #[error("Sandbox failed to start: {0}")]
    FailedToStart(String),
    #[error("Sandbox must be in started or stopped state to create a snapshot")]
    NotCapturable,
    #[error("Sandbox is not {0}")]
    WrongState(&'static str),
    #[error("Total CPU limit exceeded. Maximum allowed: {0}.\n{LIMITS}")]
    CpuQuota(u32),
    #[error("Total memory limit exceeded. Maximum allowed: {0}GiB.\n{LIMITS}")]
    MemoryQuota(u32),
    #[error("Total disk limit exceeded. Maximum allowed: {0}GiB.\n{LIMITS}")]
    DiskQuota(u32),
    #[error("Snapshot quota exceeded. Maximum allowed: {0}")]
    SnapshotQuota(u32),
    #[error("sandboxd has no images: make a snapshot from a sandbox instead")]
    NoImages,
    #[error("no IP address found. Is the Sandbox started?")]
    NoAddress,
    #[error("An unexpected error occurred.")]
    Internal,
}

impl ApiError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoSandbox(_) | Self::NoSnapshot(_) | Self::NoOrganization(_) | Self::NoRoute { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::SandboxNameTaken(_) | Self::SnapshotNameTaken(_) | Self::StateChange => {
                StatusCode::CONFLICT
            }
            Self::NoImages => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownSnapshot(_)
            | Self::SnapshotNotActive { .. }
            | Self::ResourcesWithSnapshot
            | Self::Invalid(_)
            | Self::Body
            | Self::FailedToStart(_)
            | Self::NotCapturable
            | Self::WrongState(_)
            | Self::CpuQuota(_)
            | Self::MemoryQuota(_)
            | Self::DiskQuota(_)
            | Self::SnapshotQuota(_)
            | Self::NoAddress => StatusCode::BAD_REQUEST,
        }
    }
}

/// Marks an answer as an API refusal, so that the outer layer can add the request's path to its body.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) code: Option<&'static str>,
}

impl Refusal {
    /// API bodies name the reason phrase, the daemon's and the proxy's bodies a code and the method.
    pub(crate) fn body(&self, method: &str, path: &str) -> serde_json::Value {
        let mut body = json!({
            "path": path,
            "timestamp": now(),
            "statusCode": self.status.as_u16(),
            "error": self.status.canonical_reason().unwrap_or_default(),
            "message": self.message,
            "method": method,
            "source": if path.starts_with("/toolbox") { "DAYTONA_DAEMON" } else { "DAYTONA_API" },
        });
        if let (Some(code), Some(fields)) = (self.code, body.as_object_mut()) {
            fields.insert("code".to_owned(), code.into());
        }
        body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Refusal { status: self.status(), message: self.to_string(), code: None }.into_response()
    }
}

/// Gives refusals their body and every answer the version header.
pub(crate) async fn complete_answers(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let body = Json(refusal.body(&method, &path)).into_response();
        response = (refusal.status, body).into_response();
    }
    response.headers_mut().insert("x-daytona-api-version", axum::http::HeaderValue::from_static("v0.205.1"));
    response
}
