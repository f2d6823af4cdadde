//! Every refusal with the status and the words that Daytona uses, since clients decide by both.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::manner::Manner;
use crate::rows::now;

const LIMITS: &str = "To increase concurrency limits, upgrade your organization's Tier by visiting https://app.daytona.io/dashboard/limits.";
const ARCHIVE: &str = "Consider archiving your unused Sandboxes to free up available storage.";

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("Invalid credentials")]
    Unauthorized,
    #[error("Access denied")]
    Forbidden,
    #[error("Sandbox with ID or name {0} not found")]
    NoSandbox(String),
    #[error("ThrottlerException: Too Many Requests")]
    TooManyRequests,
    #[error("Snapshot with name {0} not found")]
    NoSnapshot(String),
    #[error("Region not found")]
    NoRegion,
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
    #[error("Snapshot {0} is already active")]
    AlreadyActive(String),
    #[error("Snapshot {id} cannot be activated - it is in {state} state")]
    NotActivatable { id: String, state: &'static str },
    #[error("Snapshot deactivation is still in progress. Please try again in a few minutes.")]
    ActivationTooSoon,
    #[error("No available runners")]
    NoRunner,
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
    #[error("Total disk limit exceeded. Maximum allowed: {0}GiB.\n{ARCHIVE}\n{LIMITS}")]
    DiskQuota(u32),
    #[error("Snapshot quota exceeded. Maximum allowed: {0}")]
    SnapshotQuota(u32),
    #[error("sandboxd builds no images: name one that exists, or make a snapshot from a sandbox instead")]
    NoBuilds,
    #[error("bad request: no IP address found. Is the Sandbox started?")]
    NoAddress,
    #[error("An unexpected error occurred.")]
    Internal,
}

impl ApiError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSandbox(_)
            | Self::NoSnapshot(_)
            | Self::NoRegion
            | Self::NoOrganization(_)
            | Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::SandboxNameTaken(_) | Self::SnapshotNameTaken(_) | Self::StateChange => {
                StatusCode::CONFLICT
            }
            Self::NoBuilds => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownSnapshot(_)
            | Self::SnapshotNotActive { .. }
            | Self::ResourcesWithSnapshot
            | Self::AlreadyActive(_)
            | Self::NotActivatable { .. }
            | Self::ActivationTooSoon
            | Self::NoRunner
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
    fn body(&self, manner: Manner, method: &str, path: &str) -> serde_json::Value {
        let toolbox = path.starts_with("/toolbox");
        let mut body = json!({
            "path": path,
            "timestamp": now(),
            "statusCode": self.status.as_u16(),
            "message": self.message,
        });
        let mut add = |name: &str, value: &str| body[name] = value.into();
        if toolbox {
            add("method", method);
        } else {
            add("error", self.status.canonical_reason().unwrap_or_default());
        }
        if let Some(code) = self.code {
            add("code", code);
        }
        if manner.is_recent() {
            add("source", if toolbox { "DAYTONA_DAEMON" } else { "DAYTONA_API" });
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
    State(manner): State<Manner>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let headers = std::mem::take(response.headers_mut());
        response = (refusal.status, Json(refusal.body(manner, &method, &path))).into_response();
        response.headers_mut().extend(headers.into_iter().filter_map(|(name, value)| {
            name.filter(|name| *name != CONTENT_LENGTH).map(|name| (name, value))
        }));
    }
    let version = axum::http::HeaderValue::from_static(manner.version());
    response.headers_mut().insert("x-daytona-api-version", version);
    response
}
