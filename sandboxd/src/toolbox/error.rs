//! Every refusal of the toolbox, with the status, code and words that Daytona's daemon uses.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, Refusal};

/// Why a call into a sandbox was refused; the words are the daemon's where clients read them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolboxError {
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("unauthorized: {0}")]
    Proxy(String),
    #[error("not found: sandbox container not found: Error response from daemon: No such container: {0}")]
    NoContainer(String),
    #[error("invalid request: {0}")]
    Invalid(&'static str),
    #[error("failed to read the request body")]
    Multipart(#[from] axum::extract::multipart::MultipartError),
    #[error("command execution timeout")]
    Timeout,
    #[error("file not found: {0}")]
    NoFile(String),
    #[error("permission denied: {0}")]
    FileDenied(String),
    #[error("session not found")]
    NoSession,
    #[error("session already exists")]
    SessionExists,
    #[error("session has ended")]
    SessionEnded,
    #[error("command not found")]
    NoCommand,
    #[error("authentication failed")]
    GitAuth,
    #[error("repository not found")]
    GitNoRepository,
    #[error("branch not found")]
    GitNoBranch,
    #[error("destination path already exists and is not an empty directory")]
    GitTargetExists,
    #[error("git transport failed")]
    GitTransport,
    #[error("the sandbox could not be entered")]
    Enter(#[from] std::io::Error),
    #[error("the sandbox could not be spoken to")]
    NoPipe,
}

impl ToolboxError {
    /// The HTTP status and the daemon's own code for it.
    pub(super) fn status(&self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::Api(error) => (error.status(), None),
            Self::Proxy(_) => (StatusCode::UNAUTHORIZED, Some("UNAUTHORIZED")),
            Self::NoContainer(_) => (StatusCode::NOT_FOUND, Some("NOT_FOUND")),
            Self::Invalid(_) | Self::Multipart(_) => (StatusCode::BAD_REQUEST, None),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, Some("PROCESS_EXECUTION_TIMEOUT")),
            Self::NoFile(_) => (StatusCode::NOT_FOUND, Some("FILE_NOT_FOUND")),
            Self::FileDenied(_) => (StatusCode::FORBIDDEN, Some("FILE_ACCESS_DENIED")),
            Self::NoSession | Self::NoCommand => (StatusCode::NOT_FOUND, Some("PROCESS_NOT_FOUND")),
            Self::SessionExists | Self::GitTargetExists => (StatusCode::CONFLICT, None),
            Self::SessionEnded => (StatusCode::GONE, Some("SESSION_ENDED")),
            Self::GitAuth => (StatusCode::UNAUTHORIZED, Some("GIT_AUTH_FAILED")),
            Self::GitNoRepository => (StatusCode::NOT_FOUND, Some("GIT_REPO_NOT_FOUND")),
            Self::GitNoBranch => (StatusCode::NOT_FOUND, Some("GIT_BRANCH_NOT_FOUND")),
            Self::GitTransport => (StatusCode::BAD_GATEWAY, Some("GIT_TRANSPORT_FAILED")),
            Self::Enter(_) | Self::NoPipe => (StatusCode::INTERNAL_SERVER_ERROR, None),
        }
    }
}

impl IntoResponse for ToolboxError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        Refusal { status, message: self.to_string(), code }.into_response()
    }
}
