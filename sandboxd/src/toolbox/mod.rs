//! The routes under /toolbox/{sandbox id}: what Daytona's proxy, runner and daemon answer together. Everything that
//! touches a sandbox's files or processes runs inside it, as its user, so no path or link can reach the host.

mod files;
mod git;
mod process;
pub(crate) mod session;

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::auth::Caller;
use crate::error::{ApiError, Refusal};
use crate::jail::{HOME, Jail};
use crate::rows::now;
use crate::server::Server;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/version", get(process::version))
        .route("/work-dir", get(process::directory))
        .route("/user-home-dir", get(process::directory))
        .route("/env", post(process::change_environment))
        .route("/process/execute", post(process::execute))
        .route("/process/session", get(session::list).post(session::create))
        .route("/process/session/{session}", get(session::get).delete(session::delete))
        .route("/process/session/{session}/exec", post(session::exec))
        .route("/process/session/{session}/command/{command}", get(session::command))
        .route("/process/session/{session}/command/{command}/logs", get(session::logs))
        .route("/process/session/{session}/command/{command}/input", post(session::input))
        .route("/files", get(files::list).delete(files::delete))
        .route("/files/info", get(files::info))
        .route("/files/folder", post(files::folder))
        .route("/files/download", get(files::download))
        .route("/files/bulk-download", post(files::bulk_download))
        .route("/files/upload", post(files::upload))
        .route("/files/upload-v2", post(files::upload))
        .route("/files/bulk-upload", post(files::bulk_upload))
        .route("/git/clone", post(git::clone))
        .route("/git/status", get(git::status))
}

/// Why a call into a sandbox was refused; the words are the daemon's where clients read them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolboxError {
    #[error("{0}")]
    Api(#[from] ApiError),
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
    fn status(&self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::Api(error) => (error.status(), None),
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

/// A started sandbox, entered by one call. Its activity is touched now and when the call ends; while a call is open
/// the sandbox isn't idle.
pub(crate) struct Inside {
    pub(crate) server: Arc<Server>,
    pub(crate) id: String,
    pub(crate) jail: Arc<Jail>,
    pub(crate) environment: BTreeMap<String, String>,
    touches: Touches,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Touches {
    Activity,
    Nothing,
}

const SKIP_ACTIVITY: &str = "x-daytona-skip-last-activity-update";
/// Answers of our own small commands; only `execute` has no bound, as the contract demands.
const OUTPUT_BOUND: u64 = 16 * 1024 * 1024;

impl FromRequestParts<Arc<Server>> for Inside {
    type Rejection = ToolboxError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, ToolboxError> {
        let caller = Caller::from_request_parts(parts, server).await?;
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, server).await;
        let id = path.ok().and_then(|Path(mut path)| path.remove("sandbox")).unwrap_or_default();
        let touches = match parts.headers.get(SKIP_ACTIVITY).map(axum::http::HeaderValue::as_bytes) {
            Some(b"true") => Touches::Nothing,
            Some(_) | None => Touches::Activity,
        };
        let mut store = server.store();
        let sandbox = store
            .sandboxes
            .get_mut(&id)
            .filter(|sandbox| sandbox.row.organization_id == caller.organization());
        let sandbox = sandbox.ok_or_else(|| ApiError::NoSandbox(id.clone()))?;
        let jail = sandbox.jail.clone().ok_or(ApiError::NoAddress)?;
        let mut environment = server.plan.environment.clone();
        environment.insert("DAYTONA_SANDBOX_ID".to_owned(), id.clone());
        environment.insert("DAYTONA_SANDBOX_SNAPSHOT".to_owned(), sandbox.row.snapshot.clone());
        environment.insert("DAYTONA_SANDBOX_USER".to_owned(), sandbox.row.user.clone());
        environment.extend(sandbox.env.clone());
        environment.extend(sandbox.daemon_env.clone());
        if touches == Touches::Activity {
            sandbox.row.last_activity_at = now();
            sandbox.open_calls += 1;
        }
        drop(store);
        Ok(Self { server: Arc::clone(server), id, jail, environment, touches })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.touches == Touches::Activity
            && let Some(sandbox) = self.server.store().sandboxes.get_mut(&self.id)
        {
            sandbox.row.last_activity_at = now();
            sandbox.open_calls = sandbox.open_calls.saturating_sub(1);
        }
    }
}

impl Inside {
    pub(crate) fn command(&self, program: &[&str]) -> Command {
        self.jail.command(HOME, &self.environment, program)
    }

    /// Runs a small command of ours with `input` on its stdin.
    pub(crate) async fn run(&self, program: &[&str], input: &[u8]) -> Result<Output, ToolboxError> {
        let mut command = self.command(program);
        collect(&mut command, input).await
    }
}

/// Runs `command` with `input` on its stdin and both outputs kept, each up to a bound.
pub(crate) async fn collect(command: &mut Command, input: &[u8]) -> Result<Output, ToolboxError> {
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // The command may end without reading everything: its status tells.
            drop(stdin.write_all(input).await);
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = async {
        if let Some(stdout) = stdout { stdout.take(OUTPUT_BOUND).read_to_end(&mut out).await } else { Ok(0) }
    };
    let read_err = async {
        if let Some(stderr) = stderr { stderr.take(OUTPUT_BOUND).read_to_end(&mut err).await } else { Ok(0) }
    };
    let ((), read_out, read_err) = tokio::join!(feed, read_out, read_err);
    read_out?;
    read_err?;
    Ok(Output { status: child.wait().await?, stdout: out, stderr: err })
}
