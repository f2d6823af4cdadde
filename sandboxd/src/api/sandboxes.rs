//! One sandbox's routes. Each checks permission and state, then asks `lifecycle`; answers show the state just entered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::faults::Misbehaviour;
use crate::lifecycle::NewSandbox;
use crate::planted;
use crate::rows::{REGION, SandboxRow, SandboxState, now};
use crate::server::Server;
use crate::settings::Permission;

/// How long create waits for a start before it answers anyway.
const CREATE_WAIT: Duration = Duration::from_secs(30);

pub(super) type Answer = Result<Json<SandboxRow>, ApiError>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CreateSandbox {
    name: Option<String>,
    snapshot: Option<String>,
    user: Option<String>,
    env: Option<BTreeMap<String, String>>,
    labels: Option<Value>,
    target: Option<String>,
    public: Option<bool>,
    network_block_all: Option<bool>,
    cpu: Option<u32>,
    gpu: Option<u32>,
    memory: Option<u32>,
    disk: Option<u32>,
    auto_stop_interval: Option<i64>,
    auto_archive_interval: Option<i64>,
    auto_delete_interval: Option<i64>,
    ttl_minutes: Option<i64>,
    queue_timeout: Option<i64>,
    kvm: Option<bool>,
    build_info: Option<Value>,
}

impl CreateSandbox {
    fn check(self, server: &Server) -> Result<NewSandbox, ApiError> {
        if self.build_info.is_some() {
            return Err(ApiError::NoBuilds);
        }
        if self.labels.as_ref().is_some_and(|labels| !labels.is_object()) {
            return Err(ApiError::Invalid("labels must be an object"));
        }
        if [self.cpu, self.gpu, self.memory, self.disk].into_iter().flatten().any(|amount| amount > 0) {
            return Err(ApiError::ResourcesWithSnapshot);
        }
        if self.name.as_deref().is_some_and(|name| !is_safe_display(name)) {
            return Err(ApiError::Invalid("name must not contain HTML tags, URLs or control characters"));
        }
        // Before the snapshot is looked up.
        let target = self.target.as_deref().map(str::trim).unwrap_or_default();
        if !target.is_empty() && target != REGION {
            return Err(ApiError::NoRegion);
        }
        // What a version doesn't know, it passes over.
        let recent = server.settings.manner.is_recent();
        let queue_timeout = match self.queue_timeout.filter(|_| recent) {
            None => None,
            Some(minutes @ 1..) => Some(u32::try_from(minutes).unwrap_or(u32::MAX)),
            Some(_) => return Err(ApiError::Invalid("queueTimeout must not be less than 1")),
        };
        let interval = |given: Option<i64>, default: u32, text: &'static str| match given {
            None => Ok(default),
            Some(minutes) => u32::try_from(minutes).map_err(|_| ApiError::Invalid(text)),
        };
        Ok(NewSandbox {
            name: self.name.filter(|name| !name.is_empty()),
            snapshot: self
                .snapshot
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| server.settings.base_snapshot.clone()),
            user: self.user.unwrap_or_else(|| "harvest".to_owned()),
            env: self.env.unwrap_or_default(),
            labels: self.labels.unwrap_or_else(|| json!({})),
            public: self.public.unwrap_or_default(),
            network_block_all: self.network_block_all.unwrap_or_default(),
            auto_stop_interval: interval(
                self.auto_stop_interval,
                15,
                "Auto-stop interval must be non-negative",
            )?,
            auto_archive_interval: interval(
                self.auto_archive_interval,
                10_080,
                "Auto-archive interval must be non-negative",
            )?,
            auto_delete_interval: self.auto_delete_interval.unwrap_or(-1),
            ttl_minutes: interval(self.ttl_minutes.filter(|_| recent), 0, "TTL must be non-negative")?,
            queue_timeout,
            kvm: recent && self.kvm.unwrap_or_default(),
        })
    }
}

/// What Daytona's `IsSafeDisplayString` accepts as a name.
pub(super) fn is_safe_display(text: &str) -> bool {
    let lower = text.to_lowercase();
    let unsafe_parts = ["://", "www.", "mailto:", "data:", "tel:", "javascript:"];
    let markup = text.contains('<') && text.contains('>');
    let refused =
        markup || text.chars().any(char::is_control) || unsafe_parts.iter().any(|part| lower.contains(part));
    !refused
}

pub(super) fn body<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(if bytes.is_empty() { b"{}" } else { bytes }).map_err(|_| ApiError::Body)
}

pub(crate) async fn create(
    State(server): State<Arc<Server>>,
    caller: Caller,
    misbehaviour: Option<Extension<Misbehaviour>>,
    bytes: Bytes,
) -> Answer {
    caller.may(Permission::WriteSandboxes)?;
    let wanted = body::<CreateSandbox>(&bytes)?.check(&server)?;
    let misbehaviour = misbehaviour.map(|Extension(misbehaviour)| misbehaviour);
    let (row, mut states) = server.create(caller.organization(), wanted, misbehaviour)?;
    if row.state == SandboxState::PullingSnapshot {
        return Ok(Json(row));
    }
    let settled =
        tokio::time::timeout(CREATE_WAIT, states.wait_for(|state| *state != SandboxState::Creating)).await;
    let failed = matches!(settled, Ok(Ok(state)) if *state == SandboxState::Error);
    if failed {
        let reason =
            server.store().sandboxes.get(&row.id).and_then(|sandbox| sandbox.row.error_reason.clone());
        return Err(ApiError::FailedToStart(reason.unwrap_or_default()));
    }
    // The row as inserted, even though the sandbox may be started by now.
    Ok(Json(row))
}

pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let mut store = server.store();
    if let Some(row) = planted::find(&store.planted.sandboxes, &sandbox) {
        return Ok(Json(row.clone()));
    }
    Ok(Json(json!(store.look_at(caller.organization(), &sandbox)?)))
}

pub(crate) async fn delete(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
    misbehaviour: Option<Extension<Misbehaviour>>,
) -> Result<Json<Value>, ApiError> {
    caller.may(Permission::DeleteSandboxes)?;
    let mut store = server.store();
    if let Some(row) = planted::remove(&mut store.planted.sandboxes, &sandbox) {
        return Ok(Json(row));
    }
    let sandbox = store.sandbox(caller.organization(), &sandbox)?;
    sandbox.check_settled()?;
    Ok(Json(json!(server.destroy(sandbox, misbehaviour.map(|Extension(misbehaviour)| misbehaviour)))))
}

pub(crate) async fn start(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
) -> Answer {
    caller.may(Permission::WriteSandboxes)?;
    let mut store = server.store();
    let sandbox = store.sandbox(caller.organization(), &sandbox)?;
    sandbox.check_settled()?;
    match sandbox.row.state {
        SandboxState::Started => Ok(Json(sandbox.row.clone())),
        SandboxState::Stopped => Ok(Json(server.start(sandbox))),
        SandboxState::Creating
        | SandboxState::PullingSnapshot
        | SandboxState::Destroyed
        | SandboxState::Starting
        | SandboxState::Stopping
        | SandboxState::Snapshotting
        | SandboxState::Destroying
        | SandboxState::Error => Err(ApiError::WrongState("stopped")),
    }
}

pub(crate) async fn stop(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
) -> Answer {
    caller.may(Permission::WriteSandboxes)?;
    let mut store = server.store();
    let sandbox = store.sandbox(caller.organization(), &sandbox)?;
    sandbox.check_settled()?;
    match sandbox.row.state {
        SandboxState::Stopped => Ok(Json(sandbox.row.clone())),
        SandboxState::Started => Ok(Json(server.stop(sandbox))),
        SandboxState::Creating
        | SandboxState::PullingSnapshot
        | SandboxState::Destroyed
        | SandboxState::Starting
        | SandboxState::Stopping
        | SandboxState::Snapshotting
        | SandboxState::Destroying
        | SandboxState::Error => Err(ApiError::WrongState("started")),
    }
}

pub(crate) async fn recover(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
) -> Answer {
    caller.may(Permission::WriteSandboxes)?;
    let mut store = server.store();
    let sandbox = store.sandbox(caller.organization(), &sandbox)?;
    sandbox.check_settled()?;
    if sandbox.row.state != SandboxState::Error || !sandbox.row.recoverable {
        return Err(ApiError::WrongState("in a recoverable error state"));
    }
    Ok(Json(server.recover(sandbox)))
}

#[derive(Deserialize)]
struct Labels {
    /// Nobody looks at it, here as little as in Daytona.
    labels: Option<Value>,
}

pub(crate) async fn labels(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
    bytes: Bytes,
) -> Answer {
    caller.may(Permission::WriteSandboxes)?;
    let given = body::<Labels>(&bytes)?.labels;
    let mut store = server.store();
    let row = &mut store.sandbox(caller.organization(), &sandbox)?.row;
    if let Some(labels) = given {
        row.labels = labels;
    }
    row.updated_at = now();
    // The whole of it, though the documents promise the labels.
    Ok(Json(row.clone()))
}

/// What changes an interval says 201, though the documents promise 200.
type Changed = Result<(StatusCode, Json<SandboxRow>), ApiError>;

pub(crate) async fn autostop(
    State(server): State<Arc<Server>>,
    Path((sandbox, minutes)): Path<(String, i64)>,
    caller: Caller,
) -> Changed {
    let minutes =
        u32::try_from(minutes).map_err(|_| ApiError::Invalid("Auto-stop interval must be non-negative"))?;
    change(&server, &caller, &sandbox, |row| row.auto_stop_interval = minutes)
}

pub(crate) async fn autodelete(
    State(server): State<Arc<Server>>,
    Path((sandbox, minutes)): Path<(String, i64)>,
    caller: Caller,
) -> Changed {
    change(&server, &caller, &sandbox, |row| row.auto_delete_interval = minutes)
}

pub(crate) async fn ttl(
    State(server): State<Arc<Server>>,
    Path((sandbox, minutes)): Path<(String, i64)>,
    caller: Caller,
) -> Changed {
    let minutes = u32::try_from(minutes).map_err(|_| ApiError::Invalid("TTL must be non-negative"))?;
    let destroy_at = server.destroy_at(minutes);
    change(&server, &caller, &sandbox, |row| row.auto_destroy_at = destroy_at)
}

fn change(
    server: &Arc<Server>,
    caller: &Caller,
    sandbox: &str,
    apply: impl FnOnce(&mut SandboxRow),
) -> Changed {
    caller.may(Permission::WriteSandboxes)?;
    let mut store = server.store();
    let row = &mut store.sandbox(caller.organization(), sandbox)?.row;
    apply(row);
    row.updated_at = now();
    Ok((StatusCode::CREATED, Json(row.clone())))
}

pub(crate) async fn last_activity(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    server.store().sandbox(caller.organization(), &sandbox)?.row.last_activity_at = now();
    Ok(StatusCode::CREATED)
}

pub(crate) async fn toolbox_proxy_url(
    State(server): State<Arc<Server>>,
    Path(sandbox): Path<String>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    server.store().sandbox(caller.organization(), &sandbox)?;
    Ok(Json(json!({ "url": server.toolbox_url() })))
}
