//! The routes under /toolbox/{sandbox id}: what Daytona's proxy, runner and daemon answer together. Everything that
//! touches a sandbox's files or processes runs inside it, as its user, so no path or link can reach the host.

mod error;
mod files;
mod git;
mod inside;
mod process;
mod session;
mod session_log;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::manner::Manner;
use crate::server::Server;
pub(crate) use error::ToolboxError;

pub(crate) fn routes(manner: Manner) -> Router<Arc<Server>> {
    let recent = Router::new()
        .route("/env", post(process::change_environment))
        .route("/files/upload-v2", post(files::upload));
    let always = Router::new()
        .route("/version", get(process::version))
        .route("/work-dir", get(process::directory))
        .route("/user-home-dir", get(process::directory))
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
        .route("/files/bulk-upload", post(files::bulk_upload))
        .route("/git/clone", post(git::clone))
        .route("/git/status", get(git::status));
    if manner.is_recent() { always.merge(recent) } else { always }
}
