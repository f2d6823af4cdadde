//! What a client may know of the server, its key and its quotas.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::rows::{REGION, SandboxState};
use crate::server::Server;

pub(crate) async fn config(State(server): State<Arc<Server>>) -> Json<Value> {
    let manner = server.settings.manner;
    let mut oidc = json!({ "issuer": "", "clientId": "", "audience": "" });
    if manner.is_recent() {
        oidc["provider"] = "auth0".into();
    }
    Json(json!({
        "version": manner.version().trim_start_matches('v'),
        "oidc": oidc,
        "linkedAccountsEnabled": false,
        "announcements": {},
        "proxyTemplateUrl": format!("{}/toolbox", server.url),
        "proxyToolboxUrl": server.toolbox_url(),
        "defaultSnapshot": server.settings.base_snapshot,
        "dashboardUrl": server.url,
        "maxAutoArchiveInterval": 43200,
        "maintananceMode": false,
        "environment": "sandboxd",
    }))
}

pub(crate) async fn regions(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!([{
        "id": REGION, "name": REGION, "regionType": "shared",
        "createdAt": server.started_at, "updatedAt": server.started_at,
    }]))
}

pub(crate) async fn current_key(State(server): State<Arc<Server>>, caller: Caller) -> Json<Value> {
    Json(json!({
        "name": "sandboxd",
        "value": "********",
        "createdAt": server.started_at,
        "permissions": caller.key.permissions,
        "lastUsedAt": null,
        "expiresAt": null,
        "userId": "sandboxd",
    }))
}

/// For people who logged in: an API key is refused, whatever it may do else.
pub(crate) async fn usage(
    State(server): State<Arc<Server>>,
    Path(organization): Path<String>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    caller.is_logged_in()?;
    if organization != caller.organization() {
        return Err(ApiError::NoOrganization(organization));
    }
    let store = server.store();
    let rows = || {
        store.sandboxes.values().map(|sandbox| &sandbox.row).filter(|row| row.organization_id == organization)
    };
    let running = || rows().filter(|row| row.state != SandboxState::Stopped);
    let quotas = server.settings.quotas;
    Ok(Json(json!({
        "regionUsage": [{
            "regionId": REGION,
            "sandboxClass": "container",
            "totalCpuQuota": quotas.cpu,
            "currentCpuUsage": running().map(|row| row.cpu).sum::<u32>(),
            "totalMemoryQuota": quotas.memory_gb,
            "currentMemoryUsage": running().map(|row| row.memory).sum::<u32>(),
            "totalDiskQuota": quotas.disk_gb,
            "currentDiskUsage": rows().map(|row| row.disk).sum::<u32>(),
            "totalGpuQuota": 0, "currentGpuUsage": 0,
            "maxCpuPerSandbox": null, "maxMemoryPerSandbox": null, "maxDiskPerSandbox": null,
            "maxDiskPerNonEphemeralSandbox": null,
            "maxCpuPerGpu": null, "maxMemoryPerGpu": null, "maxDiskPerGpu": null,
        }],
        "totalSnapshotQuota": quotas.snapshots,
        "currentSnapshotUsage": store.count_snapshots(&organization),
        "totalVolumeQuota": 0,
        "currentVolumeUsage": 0,
    })))
}
