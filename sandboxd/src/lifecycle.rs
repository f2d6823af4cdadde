//! How sandboxes and snapshots change state. Each change marks the row first and does the work in a task of its own,
//! as Daytona does, so that answers show the transitional state and a client must poll.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use crate::disk::DiskError;
use crate::error::ApiError;
use crate::faults::Misbehaviour;
use crate::jail::{Jail, JailError};
use crate::rows::{REGION, SandboxRow, SandboxState, SnapshotRow, SnapshotState, now};
use crate::server::{Sandbox, Server, Source};

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
pub(crate) struct NewSandbox {
    pub(crate) name: Option<String>,
    pub(crate) snapshot: String,
    pub(crate) user: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: Value,
    pub(crate) public: bool,
    pub(crate) network_block_all: bool,
    pub(crate) auto_stop_interval: u32,
    pub(crate) auto_archive_interval: u32,
    pub(crate) auto_delete_interval: i64,
    pub(crate) ttl_minutes: u32,
    pub(crate) queue_timeout: Option<u32>,
    pub(crate) kvm: bool,
}

impl Server {
    /// Inserts the row and starts the work. The receiver sees the states that follow.
    pub(crate) fn create(
        self: &Arc<Self>,
        organization: &str,
        wanted: NewSandbox,
        misbehaviour: Option<Misbehaviour>,
    ) -> Result<(SandboxRow, watch::Receiver<SandboxState>), ApiError> {
        let mut store = self.store();
        let snapshot = store
            .snapshot(organization, &wanted.snapshot)
            .ok_or_else(|| ApiError::UnknownSnapshot(wanted.snapshot.clone()))?;
        let source = &mut snapshot.file.row;
        if source.state != SnapshotState::Active {
            return Err(ApiError::SnapshotNotActive {
                name: source.name.clone(),
                state: source.state.name(),
            });
        }
        source.last_used_at = Some(now());
        if wanted.kvm && source.sandbox_class != "linux-vm" {
            return Err(ApiError::Invalid("kvm is only supported for linux-vm snapshots"));
        }
        let (source, mut env) = (source.clone(), snapshot.file.env.clone());
        let from = Source {
            layer: Arc::clone(&snapshot.layer),
            snapshot: source.id.clone(),
            added_bytes: snapshot.file.added_bytes,
        };
        let id = Uuid::new_v4().to_string();
        let mut row = self.new_row(&id, organization, &wanted, &source);
        if store.sandbox(organization, &row.name).is_ok() {
            return Err(ApiError::SandboxNameTaken(row.name));
        }
        self.check_quota(&store.sandboxes.values().map(|sandbox| &sandbox.row).collect::<Vec<_>>(), &row)?;
        let no_runner = matches!(misbehaviour, Some(Misbehaviour::NoRunner));
        if no_runner && wanted.queue_timeout.is_none() {
            return Err(ApiError::NoRunner);
        }
        if no_runner {
            row.state = SandboxState::PullingSnapshot;
            row.runner_id = None;
        } else {
            row.runner_id = Some(self.next_runner(&mut store));
        }
        env.extend(wanted.env);
        let (changed, receiver) = watch::channel(row.state);
        let sandbox = Sandbox {
            row: row.clone(),
            env,
            daemon_env: BTreeMap::new(),
            jail: None,
            layer: Arc::clone(&from.layer),
            sessions: std::collections::HashMap::new(),
            changed,
            open_calls: 0,
            stopped_at: None,
            source: from.clone(),
        };
        store.sandboxes.insert(id.clone(), sandbox);
        drop(store);
        self.faults.count("sandbox created");
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            if server.leaves_the_queue(&id).await {
                server.first_start(&id, &from, misbehaviour).await;
            }
        });
        Ok((row, receiver))
    }

    fn new_row(&self, id: &str, organization: &str, wanted: &NewSandbox, source: &SnapshotRow) -> SandboxRow {
        let at = now();
        SandboxRow {
            id: id.to_owned(),
            organization_id: organization.to_owned(),
            name: wanted.name.clone().unwrap_or_else(|| id.to_owned()),
            snapshot: source.name.clone(),
            user: wanted.user.clone(),
            env: Some(wanted.env.clone()),
            labels: wanted.labels.clone(),
            public: wanted.public,
            network_block_all: wanted.network_block_all,
            kvm: self.settings.manner.is_recent().then_some(wanted.kvm),
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
            auto_stop_interval: wanted.auto_stop_interval,
            auto_archive_interval: wanted.auto_archive_interval,
            auto_delete_interval: wanted.auto_delete_interval,
            auto_destroy_at: self.destroy_at(wanted.ttl_minutes),
            queue_timeout: wanted.queue_timeout,
            queue_timed_out_at: None,
            created_at: at,
            updated_at: at,
            last_activity_at: at,
            sandbox_class: source.sandbox_class.clone(),
            daemon_version: self.settings.manner.version(),
            runner_id: None,
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
                row.organization_id == new.organization_id
                    && !matches!(row.state, SandboxState::Destroying | SandboxState::Destroyed)
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

    /// What sticks ends with the server, or once the faults are cleared.
    pub(crate) async fn stick(&self) {
        tokio::select! { () = self.faults.cleared() => {}, () = self.ending.cancelled() => {} }
    }

    async fn first_start(self: &Arc<Self>, id: &str, from: &Source, misbehaviour: Option<Misbehaviour>) {
        match misbehaviour {
            Some(Misbehaviour::StartError { reason, recoverable }) => {
                return self.fail(id, reason, recoverable);
            }
            Some(Misbehaviour::Stuck) => self.stick().await,
            Some(
                Misbehaviour::SilentSnapshotFailure
                | Misbehaviour::SnapshotError { .. }
                | Misbehaviour::LateSnapshotRow(_)
                | Misbehaviour::NoRunner
                | Misbehaviour::ProxyCannotAsk,
            )
            | None => {}
        }
        self.pull(id, from).await;
        match self.disk.materialise(id, &from.layer).await {
            Ok(()) => self.boot(id).await,
            Err(error) => self.fail(id, error_chain::line(&ChangeError::from(error)), false),
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
            Err(error) => self.fail(id, error_chain::line(&ChangeError::from(error)), false),
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
                server.stick().await;
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
        // Both live in the memory of Daytona's daemon, which ends with the container.
        sandbox.sessions.clear();
        sandbox.daemon_env.clear();
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
        let (server, id, from) = (Arc::clone(self), sandbox.row.id.clone(), sandbox.source.clone());
        self.tasks.spawn(async move {
            server.disk.discard_sandbox(&id).await;
            server.first_start(&id, &from, None).await;
        });
        sandbox.row.clone()
    }

    /// Applies autostop, autodelete and ttl.
    pub(crate) fn apply_intervals(self: &Arc<Self>) {
        let at = now();
        let mut store = self.store();
        for sandbox in store.sandboxes.values_mut().filter(|sandbox| sandbox.check_settled().is_ok()) {
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
