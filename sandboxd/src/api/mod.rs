//! The routes under /api, as in Daytona's public OpenAPI file v0.205.1, less what a version does not have.

mod account;
mod captures;
mod listing;
mod sandboxes;
mod snapshots;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};

use crate::manner::Manner;
use crate::server::Server;

pub(crate) fn routes(manner: Manner) -> Router<Arc<Server>> {
    let always = Router::new()
        .route("/config", get(account::config))
        .route("/regions", get(account::regions))
        .route("/api-keys/current", get(account::current_key))
        .route("/organizations/{organization}/usage", get(account::usage))
        .route("/sandbox", get(listing::by_cursor).post(sandboxes::create))
        .route("/sandbox/{sandbox}", get(sandboxes::get).delete(sandboxes::delete))
        .route("/sandbox/{sandbox}/start", post(sandboxes::start))
        .route("/sandbox/{sandbox}/stop", post(sandboxes::stop))
        .route("/sandbox/{sandbox}/recover", post(sandboxes::recover))
        .route("/sandbox/{sandbox}/labels", put(sandboxes::labels))
        .route("/sandbox/{sandbox}/autostop/{minutes}", post(sandboxes::autostop))
        .route("/sandbox/{sandbox}/autodelete/{minutes}", post(sandboxes::autodelete))
        .route("/sandbox/{sandbox}/last-activity", post(sandboxes::last_activity))
        .route("/sandbox/{sandbox}/toolbox-proxy-url", get(sandboxes::toolbox_proxy_url))
        .route("/sandbox/{sandbox}/snapshot", post(captures::create))
        .route("/snapshots", get(snapshots::list).post(snapshots::create))
        .route("/snapshots/{snapshot}", get(snapshots::get).delete(snapshots::delete))
        .route("/snapshots/{snapshot}/activate", post(snapshots::activate))
        .route("/snapshots/{snapshot}/deactivate", post(snapshots::deactivate));
    match manner {
        Manner::V0_190 => always.route("/sandbox/paginated", get(listing::by_page)),
        Manner::V0_226 => always.route("/sandbox/{sandbox}/ttl/{minutes}", post(sandboxes::ttl)),
    }
}
