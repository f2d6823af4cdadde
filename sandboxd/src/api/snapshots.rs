//! Snapshots: read, delete, put to sleep and wake. They are made from sandboxes, or from an image that is there already.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::capture::empty_snapshot;
use crate::error::ApiError;
use crate::faults::Misbehaviour;
use crate::planted;
use crate::rows::{SnapshotFile, SnapshotRow, SnapshotState, now};
use crate::server::{Server, Snapshot, Store, visible};
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
    let planted: Vec<Value> = {
        let store = server.store();
        let named = |row: &&Value| row["name"].as_str().unwrap_or_default().to_lowercase().contains(&part);
        store.planted.snapshots.iter().filter(named).cloned().collect()
    };
    let rows: Vec<Value> = planted.into_iter().chain(rows.into_iter().map(|row| json!(row))).collect();
    let total = rows.len();
    let items: Vec<Value> = rows.into_iter().skip((page - 1) * limit).take(limit).collect();
    Ok(Json(json!({ "items": items, "total": total, "page": page, "totalPages": total.div_ceil(limit) })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSnapshot {
    name: String,
    image_name: Option<String>,
    sandbox_class: Option<String>,
}

/// From an image that is there already: here every image is an empty machine.
pub(crate) async fn create(
    State(server): State<Arc<Server>>,
    caller: Caller,
    misbehaviour: Option<Extension<Misbehaviour>>,
    bytes: Bytes,
) -> Result<Json<SnapshotRow>, ApiError> {
    caller.may(Permission::WriteSnapshots)?;
    let wanted: CreateSnapshot = serde_json::from_slice(&bytes).map_err(|_| ApiError::Body)?;
    let image = wanted.image_name.filter(|image| !image.is_empty()).ok_or(ApiError::NoBuilds)?;
    let tag = image.rsplit('/').next().and_then(|last| last.split_once([':', '@'])).map(|(_, tag)| tag);
    if tag.is_none_or(|tag| tag.is_empty() || tag == "latest") {
        return Err(ApiError::Invalid(
            "Image name must include a tag or digest, and the tag can't be latest",
        ));
    }
    let mut store = server.store();
    if store.snapshot(caller.organization(), &wanted.name).is_some() {
        return Err(ApiError::SnapshotNameTaken(wanted.name));
    }
    check_quota(&server, &store, &caller)?;
    let row = SnapshotRow {
        organization_id: Some(caller.organization().to_owned()),
        state: SnapshotState::Pending,
        image_name: image,
        sandbox_class: wanted.sandbox_class.unwrap_or_else(|| "container".to_owned()),
        ..empty_snapshot(wanted.name)
    };
    let layer = server.disk.base(&row.id, &server.settings.foreign_files).map_err(|_| ApiError::Internal)?;
    let file = SnapshotFile { row: row.clone(), env: BTreeMap::new(), added_bytes: 0 };
    store.snapshots.insert(row.id.clone(), Snapshot { file, layer });
    drop(store);
    server.pull_image(&row.id, misbehaviour.map(|Extension(misbehaviour)| misbehaviour));
    Ok(Json(row))
}

fn check_quota(server: &Server, store: &Store, caller: &Caller) -> Result<(), ApiError> {
    let quota = server.settings.quotas.snapshots;
    let used = store.count_snapshots(caller.organization());
    if used >= usize::try_from(quota).unwrap_or(usize::MAX) {
        Err(ApiError::SnapshotQuota(quota))
    } else {
        Ok(())
    }
}

pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let mut store = server.store();
    if let Some(row) = planted::find(&store.planted.snapshots, &snapshot) {
        return Ok(Json(row.clone()));
    }
    let found = store.snapshot(caller.organization(), &snapshot).map(|found| json!(found.file.row));
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
    if planted::remove(&mut server.store().planted.snapshots, &snapshot).is_some() {
        return Ok(StatusCode::OK);
    }
    let state =
        server.store().snapshot(caller.organization(), &snapshot).map(|snapshot| snapshot.file.row.state);
    match state {
        None => Err(ApiError::NoSnapshot(snapshot)),
        // Accepted, and without effect while something else is done to it.
        Some(
            SnapshotState::Removing
            | SnapshotState::Pending
            | SnapshotState::Pulling
            | SnapshotState::Snapshotting,
        ) => Ok(StatusCode::OK),
        Some(SnapshotState::Active | SnapshotState::Inactive | SnapshotState::Error) => {
            server.remove_snapshot(&snapshot);
            Ok(StatusCode::OK)
        }
    }
}

/// Pulls the image anew. What was captured has none, so waking it destroys it.
pub(crate) async fn activate(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
    misbehaviour: Option<Extension<Misbehaviour>>,
) -> Result<Json<SnapshotRow>, ApiError> {
    caller.may(Permission::WriteSnapshots)?;
    let row = {
        let mut store = server.store();
        let found = store
            .snapshot(caller.organization(), &snapshot)
            .ok_or_else(|| ApiError::NoSnapshot(snapshot.clone()))?;
        let row = found.file.row.clone();
        match row.state {
            SnapshotState::Inactive => {}
            SnapshotState::Active => return Err(ApiError::AlreadyActive(row.id)),
            SnapshotState::Pending
            | SnapshotState::Pulling
            | SnapshotState::Snapshotting
            | SnapshotState::Error
            | SnapshotState::Removing => {
                return Err(ApiError::NotActivatable { state: row.state.name(), id: row.id });
            }
        }
        let rested = (now() - row.updated_at).to_std().unwrap_or_default();
        if rested < server.settings.activation_cooldown {
            return Err(ApiError::ActivationTooSoon);
        }
        check_quota(&server, &store, &caller)?;
        row
    };
    let row = server.set_state(&row.id, SnapshotState::Pending, None).ok_or(ApiError::Internal)?;
    server.pull_image(&row.id, misbehaviour.map(|Extension(misbehaviour)| misbehaviour));
    Ok(Json(row))
}

pub(crate) async fn deactivate(
    State(server): State<Arc<Server>>,
    Path(snapshot): Path<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    caller.may(Permission::WriteSnapshots)?;
    let found = server
        .store()
        .snapshot(caller.organization(), &snapshot)
        .map(|found| (found.file.row.id.clone(), found.file.row.state));
    match found {
        None => Err(ApiError::NoSnapshot(snapshot)),
        Some((_, SnapshotState::Inactive)) => Ok(StatusCode::NO_CONTENT),
        Some((id, _)) => {
            server.set_state(&id, SnapshotState::Inactive, None).ok_or(ApiError::Internal)?;
            Ok(StatusCode::NO_CONTENT)
        }
    }
}
