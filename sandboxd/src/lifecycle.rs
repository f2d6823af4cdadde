//! How sandboxes and snapshots change state. Each change marks the row first and does the work in a task of its own,
//! as Daytona does, so that answers show the transitional state and a client must poll.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use uuid::Uuid;

use crate::disk::{DiskError, Layer, size_of};
use crate::error::ApiError;
use crate::faults::Misbehaviour;
use crate::jail::{Jail, JailError};
use crate::rows::{REGION, SandboxRow, SandboxState, SnapshotFile, SnapshotRow, SnapshotState, now};
use crate::server::{Sandbox, Server, Snapshot};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("its files could not be prepared")]
    Disk(#[from] DiskError),
    #[error("its processes could not be started")]
    Jail(#[from] JailError),
    #[error("a snapshot's description could not be written")]
    Describe(#[source] std::io::Error),
}

/// What `create` is asked for, checked.
pub(crate) struct Wish {
    pub(crate) name: Option<String>,
    pub(crate) snapshot: String,
    pub(crate) user: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) public: bool,
    pub(crate) network_block_all: bool,
    pub(crate) auto_stop_interval: u32,
    pub(crate) auto_archive_interval: u32,
    pub(crate) auto_delete_interval: i64,
    pub(crate) ttl_minutes: u32,
}

impl Server {
    /// Inserts the row and starts the work. The receiver tells the states that follow.
    pub(crate) fn create(
        self: &Arc<Self>,
        organization: &str,
        wish: Wish,
        misbehaviour: Option<Misbehaviour>,
    ) -> Result<(SandboxRow, watch::Receiver<SandboxState>), ApiError> {
        let mut store = self.store();
        let snapshot = store
            .snapshot(organization, &wish.snapshot)
            .ok_or_else(|| ApiError::UnknownSnapshot(wish.snapshot.clone()))?;
        let source = &mut snapshot.file.row;
        if source.state != SnapshotState::Active {
            return Err(ApiError::SnapshotNotActive {
                name: source.name.clone(),
                state: source.state.name(),
            });
        }
        source.last_used_at = Some(now());
        let (source, layer, mut env) =
            (source.clone(), Arc::clone(&snapshot.layer), snapshot.file.env.clone());
        let id = Uuid::new_v4().to_string();
        let row = self.new_row(&id, organization, &wish, &source);
        if store.sandbox(organization, &row.name).is_ok() {
            return Err(ApiError::SandboxNameTaken(row.name));
        }
        self.check_quota(&store.sandboxes.values().map(|sandbox| &sandbox.row).collect::<Vec<_>>(), &row)?;
        env.extend(wish.env);
        let (changed, receiver) = watch::channel(SandboxState::Creating);
        let sandbox = Sandbox {
            row: row.clone(),
            env,
            daemon_env: BTreeMap::new(),
            jail: None,
            layer: Arc::clone(&layer),
            sessions: std::collections::HashMap::new(),
            changed,
            open_calls: 0,
            stopped_at: None,
        };
        store.sandboxes.insert(id.clone(), sandbox);
        drop(store);
        self.faults.count("sandbox created");
        let server = Arc::clone(self);
        self.tasks.spawn(async move { server.first_start(&id, &layer, misbehaviour).await });
        Ok((row, receiver))
    }

    fn new_row(&self, id: &str, organization: &str, wish: &Wish, source: &SnapshotRow) -> SandboxRow {
        let at = now();
        SandboxRow {
            id: id.to_owned(),
            organization_id: organization.to_owned(),
            name: wish.name.clone().unwrap_or_else(|| id.to_owned()),
            snapshot: source.name.clone(),
            user: wish.user.clone(),
            env: Some(wish.env.clone()),
            labels: wish.labels.clone(),
            public: wish.public,
            network_block_all: wish.network_block_all,
            target: REGION.to_owned(),
            cpu: source.cpu,
            gpu: source.gpu,
            memory: source.mem,
            disk: source.disk,
            state: SandboxState::Creating,
            desired_state: "started",
            error_reason: None,
            recoverable: false,
            backup_state: "None",
            auto_stop_interval: wish.auto_stop_interval,
            auto_archive_interval: wish.auto_archive_interval,
            auto_delete_interval: wish.auto_delete_interval,
            auto_destroy_at: self.destroy_at(wish.ttl_minutes),
            created_at: at,
            updated_at: at,
            last_activity_at: at,
            sandbox_class: "container",
            daemon_version: "0.205.1",
            runner_id: "local",
            toolbox_proxy_url: self.toolbox_url(),
        }
    }

    pub(crate) fn destroy_at(&self, ttl_minutes: u32) -> Option<chrono::DateTime<chrono::Utc>> {
        (ttl_minutes > 0).then(|| now() + self.minutes(ttl_minutes))
    }

    pub(crate) fn minutes(&self, count: u32) -> TimeDelta {
        TimeDelta::from_std(self.settings.minute * count).unwrap_or(TimeDelta::MAX)
    }

    fn check_quota(&self, rows: &[&SandboxRow], new: &SandboxRow) -> Result<(), ApiError> {
        let quotas = self.settings.quotas;
        let own = || {
            rows.iter().filter(|row| {
                row.organization_id == new.organization_id && row.state != SandboxState::Destroying
            })
        };
        let running = || own().filter(|row| row.state != SandboxState::Stopped);
        if running().map(|row| row.cpu).sum::<u32>() + new.cpu > quotas.cpu {
            return Err(ApiError::CpuQuota(quotas.cpu));
        }
        if running().map(|row| row.memory).sum::<u32>() + new.memory > quotas.memory_gb {
            return Err(ApiError::MemoryQuota(quotas.memory_gb));
        }
        if own().map(|row| row.disk).sum::<u32>() + new.disk > quotas.disk_gb {
            return Err(ApiError::DiskQuota(quotas.disk_gb));
        }
        Ok(())
    }

    async fn first_start(self: Arc<Self>, id: &str, layer: &Layer, misbehaviour: Option<Misbehaviour>) {
        match misbehaviour {
            Some(Misbehaviour::StartError { reason, recoverable }) => {
                return self.fail(id, reason, recoverable);
            }
            Some(Misbehaviour::Stuck) => return self.ending.cancelled().await,
            Some(Misbehaviour::SilentSnapshotFailure | Misbehaviour::LateSnapshotRow(_)) | None => {}
        }
        match self.disk.materialise(id, layer).await {
            Ok(()) => self.boot(id).await,
            Err(error) => self.fail(id, chain(&ChangeError::from(error)), false),
        }
    }

    /// Starts the processes of a sandbox whose files are there.
    pub(crate) async fn boot(&self, id: &str) {
        let started = Jail::start(&self.plan.arguments(&self.disk.sandbox_root(id))).await;
        match started {
            Ok(jail) => {
                let mut store = self.store();
                if let Some(sandbox) = store.sandboxes.get_mut(id) {
                    sandbox.jail = Some(Arc::new(jail));
                    sandbox.row.last_activity_at = now();
                    sandbox.enter(SandboxState::Started);
                }
                drop(store);
                self.faults.count("sandbox started");
            }
            Err(error) => self.fail(id, chain(&ChangeError::from(error)), false),
        }
    }

    fn fail(&self, id: &str, reason: String, recoverable: bool) {
        tracing::warn!(sandbox.id = id, reason, "sandbox in error");
        if let Some(sandbox) = self.store().sandboxes.get_mut(id) {
            sandbox.row.error_reason = Some(reason);
            sandbox.row.recoverable = recoverable;
            sandbox.enter(SandboxState::Error);
        }
    }

    /// Marks the row `destroying` and removes everything of the sandbox.
    pub(crate) fn destroy(
        self: &Arc<Self>,
        sandbox: &mut Sandbox,
        misbehaviour: Option<Misbehaviour>,
    ) -> SandboxRow {
        sandbox.enter(SandboxState::Destroying);
        let (server, id, jail) = (Arc::clone(self), sandbox.row.id.clone(), sandbox.jail.take());
        sandbox.sessions.clear();
        self.tasks.spawn(async move {
            if matches!(misbehaviour, Some(Misbehaviour::Stuck)) {
                server.ending.cancelled().await;
            }
            server.end_processes(&id, jail).await;
            server.disk.discard_sandbox(&id).await;
            let gone = server.store().sandboxes.remove(&id);
            // Dropped outside the lock: it may be the last holder of a deleted snapshot's files.
            drop(tokio::task::spawn_blocking(move || drop(gone)).await);
        });
        sandbox.row.clone()
    }

    pub(crate) fn stop(self: &Arc<Self>, sandbox: &mut Sandbox) -> SandboxRow {
        if sandbox.row.is_ephemeral() {
            return self.destroy(sandbox, None);
        }
        sandbox.enter(SandboxState::Stopping);
        let (server, id, jail) = (Arc::clone(self), sandbox.row.id.clone(), sandbox.jail.take());
        sandbox.sessions.clear();
        self.tasks.spawn(async move {
            server.end_processes(&id, jail).await;
            if let Some(sandbox) = server.store().sandboxes.get_mut(&id) {
                sandbox.enter(SandboxState::Stopped);
            }
        });
        sandbox.row.clone()
    }

    async fn end_processes(&self, id: &str, jail: Option<Arc<Jail>>) {
        if let Some(jail) = jail
            && let Err(error) = jail.kill().await
        {
            tracing::error!(sandbox.id = id, %error, "sandbox processes");
        }
    }

    pub(crate) fn start(self: &Arc<Self>, sandbox: &mut Sandbox) -> SandboxRow {
        sandbox.row.error_reason = None;
        sandbox.row.recoverable = false;
        sandbox.enter(SandboxState::Starting);
        let (server, id) = (Arc::clone(self), sandbox.row.id.clone());
        self.tasks.spawn(async move { server.boot(&id).await });
        sandbox.row.clone()
    }

    /// From an error a second try may cure: the files are made anew, as a recovery that lost them would.
    pub(crate) fn recover(self: &Arc<Self>, sandbox: &mut Sandbox) -> SandboxRow {
        sandbox.row.error_reason = None;
        sandbox.row.recoverable = false;
        sandbox.enter(SandboxState::Starting);
        let (server, id, layer) = (Arc::clone(self), sandbox.row.id.clone(), Arc::clone(&sandbox.layer));
        self.tasks.spawn(async move {
            server.disk.discard_sandbox(&id).await;
            server.first_start(&id, &layer, None).await;
        });
        sandbox.row.clone()
    }

    /// Marks the row `snapshotting`; the snapshot appears when everything is copied, or never.
    pub(crate) fn capture(
        self: &Arc<Self>,
        sandbox: &mut Sandbox,
        name: String,
        misbehaviour: Option<Misbehaviour>,
    ) -> SandboxRow {
        let before = sandbox.row.state;
        sandbox.enter(SandboxState::Snapshotting);
        let (server, row) = (Arc::clone(self), sandbox.row.clone());
        let (jail, env) = (sandbox.jail.clone(), sandbox.env.clone());
        self.tasks.spawn(async move {
            let late = match misbehaviour {
                Some(Misbehaviour::LateSnapshotRow(delay)) => delay,
                Some(Misbehaviour::Stuck) => return server.ending.cancelled().await,
                Some(Misbehaviour::SilentSnapshotFailure | Misbehaviour::StartError { .. }) | None => {
                    Duration::ZERO
                }
            };
            let captured = if matches!(misbehaviour, Some(Misbehaviour::SilentSnapshotFailure)) {
                None
            } else {
                freeze(jail.as_deref(), "STOP").await;
                let captured = server.copy_out(&row, name, env).await;
                freeze(jail.as_deref(), "CONT").await;
                captured
                    .inspect_err(|error| {
                        tracing::error!(sandbox.id = row.id, error = chain(error), "capture")
                    })
                    .ok()
            };
            // As in production, the sandbox's state is back before the row exists, and a failure leaves no trace.
            if late > Duration::ZERO || captured.is_none() {
                server.back(&row.id, before);
                tokio::select! { () = tokio::time::sleep(late) => {}, () = server.ending.cancelled() => {} }
            }
            if let Some(snapshot) = captured {
                server.store().snapshots.insert(snapshot.file.row.id.clone(), snapshot);
                server.faults.count("snapshot captured");
            }
            if late == Duration::ZERO {
                server.back(&row.id, before);
            }
        });
        sandbox.row.clone()
    }

    fn back(&self, id: &str, before: SandboxState) {
        if let Some(sandbox) = self.store().sandboxes.get_mut(id)
            && sandbox.row.state == SandboxState::Snapshotting
        {
            sandbox.enter(before);
        }
    }

    async fn copy_out(
        &self,
        sandbox: &SandboxRow,
        name: String,
        env: BTreeMap<String, String>,
    ) -> Result<Snapshot, ChangeError> {
        let id = Uuid::new_v4().to_string();
        let layer = self.disk.capture(&sandbox.id, &id).await?;
        let directory = self.disk.snapshot_directory(&id);
        let bytes = tokio::task::spawn_blocking(move || size_of(&directory)).await.unwrap_or_default();
        let at = now();
        #[expect(clippy::cast_precision_loss, reason = "a size in GB for people")]
        let size = bytes as f64 / 1e9;
        let row = SnapshotRow {
            id,
            organization_id: Some(sandbox.organization_id.clone()),
            size: Some(size),
            cpu: sandbox.cpu,
            mem: sandbox.memory,
            disk: sandbox.disk,
            source_sandbox_id: Some(sandbox.id.clone()),
            last_used_at: Some(at),
            ..empty_snapshot(name)
        };
        let snapshot = Snapshot { file: SnapshotFile { row, env }, layer };
        self.describe(&snapshot.file)?;
        Ok(snapshot)
    }

    /// Writes snapshot.json, whole or not at all; without it a directory is rubbish to the next start.
    pub(crate) fn describe(&self, file: &SnapshotFile) -> Result<(), ChangeError> {
        let directory = self.disk.snapshot_directory(&file.row.id);
        let temporary = directory.join("snapshot.json.new");
        serde_json::to_vec_pretty(file)
            .map_err(std::io::Error::from)
            .and_then(|text| std::fs::write(&temporary, text))
            .and_then(|()| std::fs::rename(&temporary, directory.join("snapshot.json")))
            .map_err(ChangeError::Describe)
    }

    /// Frees name and files; the files stay while sandboxes live on them.
    pub(crate) fn remove_snapshot(self: &Arc<Self>, id: &str) {
        if let Some(snapshot) = self.store().snapshots.get_mut(id) {
            snapshot.file.row.state = SnapshotState::Removing;
        }
        let (server, id) = (Arc::clone(self), id.to_owned());
        self.tasks.spawn(async move {
            let description = server.disk.snapshot_directory(&id).join("snapshot.json");
            if let Err(error) = tokio::fs::remove_file(description).await {
                tracing::warn!(snapshot.id = id, %error, "snapshot description");
            }
            let removed = server.store().snapshots.remove(&id);
            drop(
                tokio::task::spawn_blocking(move || {
                    if let Some(snapshot) = removed {
                        snapshot.layer.doom();
                    }
                })
                .await,
            );
        });
    }

    /// Reads the snapshots on disk and makes the base snapshot where it is missing.
    pub(crate) fn load(&self) -> Result<(), ChangeError> {
        for directory in self.disk.snapshot_directories()? {
            let read = std::fs::read(directory.join("snapshot.json")).map_err(ChangeError::Describe)?;
            let file: SnapshotFile =
                serde_json::from_slice(&read).map_err(|error| ChangeError::Describe(error.into()))?;
            let layer = self.disk.layer(&file.row.id);
            self.store().snapshots.insert(file.row.id.clone(), Snapshot { file, layer });
        }
        let name = &self.settings.base_snapshot;
        if self.store().snapshots.values().any(|snapshot| snapshot.file.row.name == *name) {
            return Ok(());
        }
        let row = empty_snapshot(name.clone());
        let layer = self.disk.base(&row.id)?;
        let snapshot = Snapshot { file: SnapshotFile { row, env: BTreeMap::new() }, layer };
        self.describe(&snapshot.file)?;
        self.store().snapshots.insert(snapshot.file.row.id.clone(), snapshot);
        Ok(())
    }

    /// Applies autostop, autodelete and ttl.
    pub(crate) fn apply_intervals(self: &Arc<Self>) {
        let at = now();
        let mut store = self.store();
        for sandbox in store.sandboxes.values_mut().filter(|sandbox| sandbox.settled().is_ok()) {
            let row = &sandbox.row;
            let idle = sandbox.open_calls == 0
                && row.state == SandboxState::Started
                && row.auto_stop_interval > 0
                && at - row.last_activity_at >= self.minutes(row.auto_stop_interval);
            let left = u32::try_from(row.auto_delete_interval).is_ok_and(|minutes| {
                sandbox.stopped_at.is_some_and(|stopped| at - stopped >= self.minutes(minutes))
            });
            if left || row.auto_destroy_at.is_some_and(|destroy| at >= destroy) {
                self.destroy(sandbox, None);
            } else if idle {
                self.stop(sandbox);
            }
        }
    }

    /// Kills every sandbox and removes its files; snapshots too where nothing is to stay.
    pub(crate) async fn end(self: &Arc<Self>) {
        self.ending.cancel();
        let jails: Vec<_> = {
            let mut store = self.store();
            store.sandboxes.iter_mut().map(|(id, sandbox)| (id.clone(), sandbox.jail.take())).collect()
        };
        for (id, jail) in jails {
            self.end_processes(&id, jail).await;
            self.disk.discard_sandbox(&id).await;
        }
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(30), self.tasks.wait()).await.is_err() {
            tracing::warn!("some work did not end in time");
        }
        // A sandbox that was being started while the others were killed.
        let late: Vec<_> = self.store().sandboxes.drain().collect();
        for (id, sandbox) in late {
            self.end_processes(&id, sandbox.jail.clone()).await;
            self.disk.discard_sandbox(&id).await;
        }
        if self.settings.retention == crate::settings::Retention::RemoveAll {
            self.disk.remove_everything();
        }
    }
}

fn empty_snapshot(name: String) -> SnapshotRow {
    let at = now();
    SnapshotRow {
        id: Uuid::new_v4().to_string(),
        organization_id: None,
        general: false,
        name,
        state: SnapshotState::Active,
        size: Some(0.0),
        entrypoint: Vec::new(),
        cpu: 2,
        gpu: 0,
        mem: 4,
        disk: 10,
        error_reason: None,
        created_at: at,
        updated_at: at,
        last_used_at: None,
        source_sandbox_id: None,
        region_ids: vec![REGION.to_owned()],
        sandbox_class: "container".to_owned(),
    }
}

/// Processes see a freeze while their files are copied, as under a container commit. pid 1 can't be stopped from
/// inside, so a server that dies meanwhile still takes them along.
async fn freeze(jail: Option<&Jail>, signal: &str) {
    let Some(jail) = jail else { return };
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let mut command = jail.command("/", &environment, &["bash", "-c", "kill -\"$0\" -1", signal]);
    // No process but pid 1 makes kill fail: nothing to freeze.
    drop(command.status().await);
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
