//! Snapshots: read, delete, put to sleep and wake. They are made from sandboxes only.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::rows::{SnapshotRow, SnapshotState, now};
use crate::server::{Server, visible};
use crate::settings::Permission;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListQuery {
    page: Option<usize>,
    limit: Option<usize>,
    name: Option<String>,
    sort: Option<String>,
    order: Option<String>,
    source_sandbox_id: Option<String>,
}

pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    Query(query): Query<ListQuery>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let (page, limit) = (query.page.unwrap_or(1), query.limit.unwrap_or(100));
    if page < 1 || !(1..=200).contains(&limit) {
        return Err(ApiError::Invalid("page must not be less than 1, limit must be between 1 and 200"));
    }
    let part = query.name.unwrap_or_default().to_lowercase();
    let mut rows: Vec<SnapshotRow> = {
        let store = server.store();
        let all = store.snapshots.values().map(|snapshot| &snapshot.file.row);
        all.filter(|row| visible(row, caller.organization()) && row.name.to_lowercase().contains(&part))
            .filter(|row| {
                query.source_sandbox_id.is_none() || row.source_sandbox_id == query.source_sandbox_id
            })
            .cloned()
            .collect()
    };
    match query.sort.as_deref().unwrap_or("lastUsedAt") {
        "name" => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        "state" => rows.sort_by(|a, b| (a.state.name(), &a.id).cmp(&(b.state.name(), &b.id))),
        "createdAt" => rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id))),
        "lastUsedAt" => rows.sort_by(|a, b| (a.last_used_at, &a.id).cmp(&(b.last_used_at, &b.id))),
        _ => {
            return Err(ApiError::Invalid(
                "sort must be one of the following values: name, state, lastUsedAt, createdAt",
            ));
        }
    }
    if query.order.as_deref() != Some("asc") {
        rows.reverse();
    }
    let total = rows.len();
    let items: Vec<SnapshotRow> = rows.into_iter().skip((page - 1) * limit).take(limit).collect();
    Ok(Json(json!({ "items": items, "total": total, "page": page, "totalPages": total.div_ceil(limit) })))
}

pub(crate) async fn create(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.may(Permission::WriteSnapshots)?;
    Err(ApiError::NoImages)
}

pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
) -> Result<Json<SnapshotRow>, ApiError> {
    let mut store = server.store();
    let found = store.snapshot(caller.organization(), &snapshot).map(|snapshot| snapshot.file.row.clone());
    found.map(Json).ok_or(ApiError::NoSnapshot(snapshot))
}

pub(crate) async fn delete(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    caller.may(Permission::DeleteSnapshots)?;
    if uuid::Uuid::parse_str(&snapshot).is_err() {
        return Err(ApiError::Invalid("Validation failed (uuid is expected)"));
    }
    let state =
        server.store().snapshot(caller.organization(), &snapshot).map(|snapshot| snapshot.file.row.state);
    match state {
        None => Err(ApiError::NoSnapshot(snapshot)),
        Some(SnapshotState::Removing) => Ok(StatusCode::OK),
        Some(SnapshotState::Active | SnapshotState::Inactive) => {
            server.remove_snapshot(&snapshot);
            Ok(StatusCode::OK)
        }
    }
}

pub(crate) async fn activate(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
) -> Result<Json<SnapshotRow>, ApiError> {
    caller.may(Permission::WriteSnapshots)?;
    turn(&server, &caller, &snapshot, SnapshotState::Inactive, SnapshotState::Active).map(Json)
}

pub(crate) async fn deactivate(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    caller.may(Permission::WriteSnapshots)?;
    turn(&server, &caller, &snapshot, SnapshotState::Active, SnapshotState::Inactive)?;
    Ok(StatusCode::NO_CONTENT)
}

fn turn(
    server: &Server,
    caller: &Caller,
    id: &str,
    from: SnapshotState,
    to: SnapshotState,
) -> Result<SnapshotRow, ApiError> {
    let mut store = server.store();
    let used = store.count_snapshots(caller.organization());
    let quota = server.settings.quotas.snapshots;
    let snapshot =
        store.snapshot(caller.organization(), id).ok_or_else(|| ApiError::NoSnapshot(id.to_owned()))?;
    let row = &mut snapshot.file.row;
    if row.state != from {
        return Err(ApiError::SnapshotNotActive { name: row.name.clone(), state: row.state.name() });
    }
    if to == SnapshotState::Active && used >= usize::try_from(quota).unwrap_or(usize::MAX) {
        return Err(ApiError::SnapshotQuota(quota));
    }
    row.state = to;
    row.updated_at = now();
    let file = snapshot.file.clone();
    drop(store);
    server.describe(&file).map_err(|error| {
        tracing::error!(error = error_chain::line(&error), "snapshot state");
        ApiError::Internal
    })?;
    Ok(file.row)
}
