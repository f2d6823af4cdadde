//! What tests put beside the fleet's own: rows of other people in whatever shape, snapshots in a state that Daytona's own
//! clocks would bring them to, a proxy that starts anew. Served where faults are.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{post, put};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::planted::Planted;
use crate::rows::{SnapshotState, now};
use crate::server::Server;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/faults/rows", post(plant).delete(uproot))
        .route("/faults/snapshots/{snapshot}", put(set_state))
        .route("/faults/access", axum::routing::delete(restart_proxy))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: Kind,
    row: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Sandbox,
    Snapshot,
}

async fn plant(State(server): State<Arc<Server>>, Json(given): Json<Row>) -> StatusCode {
    let planted = &mut server.store().planted;
    match given.kind {
        Kind::Sandbox => planted.sandboxes.push(given.row),
        Kind::Snapshot => planted.snapshots.push(given.row),
    }
    StatusCode::CREATED
}

async fn uproot(State(server): State<Arc<Server>>) -> StatusCode {
    server.store().planted = Planted::default();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Changes {
    state: Option<SnapshotState>,
    updated_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

/// What Daytona's own clocks do to a snapshot, at once.
async fn set_state(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    Json(changes): Json<Changes>,
) -> Result<StatusCode, ApiError> {
    let file = {
        let mut store = server.store();
        let found = store
            .snapshots
            .values_mut()
            .find(|found| found.file.row.id == snapshot || found.file.row.name == snapshot)
            .ok_or(ApiError::NoSnapshot(snapshot))?;
        let row = &mut found.file.row;
        row.state = changes.state.unwrap_or(row.state);
        row.updated_at = changes.updated_at.unwrap_or_else(now);
        row.last_used_at = changes.last_used_at.or(row.last_used_at);
        found.file.clone()
    };
    server.describe(&file).map_err(|_| ApiError::Internal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Its cache of who may reach what is empty afterwards.
async fn restart_proxy(State(server): State<Arc<Server>>) -> StatusCode {
    server.access.forget();
    StatusCode::NO_CONTENT
}
