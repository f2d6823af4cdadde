//! The capture of a sandbox: what it is refused for, then `capture` does it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;

use super::sandboxes::{Answer, body, is_safe_display};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::faults::Misbehaviour;
use crate::manner::Manner;
use crate::rows::{SandboxRow, SandboxState};
use crate::server::Server;
use crate::settings::Permission;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSandboxSnapshot {
    name: String,
    #[serde(default)]
    include_memory: bool,
}

pub(crate) async fn create(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
    misbehaviour: Option<Extension<Misbehaviour>>,
    bytes: Bytes,
) -> Answer {
    caller.may(Permission::WriteSandboxes)?;
    let wanted = body::<CreateSandboxSnapshot>(&bytes)?;
    if wanted.name.is_empty() || !is_safe_display(&wanted.name) {
        return Err(ApiError::Invalid("name must not contain HTML tags, URLs or control characters"));
    }
    let mut store = server.store();
    let quota = server.settings.quotas.snapshots;
    let used = store.count_snapshots(caller.organization());
    let taken = store.snapshot(caller.organization(), &wanted.name).is_some();
    let sandbox = store.sandbox(caller.organization(), &sandbox)?;
    match sandbox.row.state {
        SandboxState::Started | SandboxState::Stopped => {}
        SandboxState::Destroying => return Err(ApiError::StateChange),
        SandboxState::Creating
        | SandboxState::PullingSnapshot
        | SandboxState::Starting
        | SandboxState::Stopping
        | SandboxState::Snapshotting
        | SandboxState::Destroyed
        | SandboxState::Error => return Err(ApiError::NotCapturable),
    }
    check_class(&sandbox.row, wanted.include_memory, server.settings.manner)?;
    if used >= usize::try_from(quota).unwrap_or(usize::MAX) {
        return Err(ApiError::SnapshotQuota(quota));
    }
    let misbehaviour = misbehaviour.map(|Extension(misbehaviour)| misbehaviour);
    let misbehaviour = match (taken, server.settings.manner) {
        (false, _) => misbehaviour,
        (true, Manner::V0_226) => return Err(ApiError::SnapshotNameTaken(wanted.name)),
        // Noticed when the row is inserted, and only logged.
        (true, Manner::V0_190) => Some(Misbehaviour::SilentSnapshotFailure),
    };
    let row = sandbox.row.clone();
    Ok(Json(server.capture(&mut store, &row.id, wanted.name, misbehaviour).unwrap_or(row)))
}

/// What each kind of machine can be captured in. 0.226's documents say that a virtual machine is captured running, with its
/// memory, or at rest.
fn check_class(row: &SandboxRow, include_memory: bool, manner: Manner) -> Result<(), ApiError> {
    let refused = match (manner, &*row.sandbox_class, include_memory) {
        (_, "container", false) | (Manner::V0_190, "linux-vm", false) => None,
        (_, "container", true) | (Manner::V0_190, _, true) => {
            Some("includeMemory is only supported for Windows sandboxes")
        }
        (_, _, true) => (row.state != SandboxState::Started)
            .then_some("Snapshots with memory require the sandbox to be running (STARTED)"),
        (_, _, false) => (row.state != SandboxState::Stopped)
            .then_some("Filesystem-only snapshots require the sandbox to be stopped (STOPPED)"),
    };
    refused.map_or(Ok(()), |text| Err(ApiError::Invalid(text)))
}
