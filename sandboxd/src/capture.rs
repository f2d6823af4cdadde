//! Snapshots: made from a sandbox, loaded at the start, removed. snapshot.json is written last and removed first, so a
//! directory without it is rubbish. As in production a capture that fails leaves no trace but the sandbox's old state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::disk::size_of;
use crate::faults::Misbehaviour;
use crate::jail::{Jail, SHELL};
use crate::lifecycle::ChangeError;
use crate::rows::{REGION, SandboxRow, SandboxState, SnapshotFile, SnapshotRow, SnapshotState, now};
use crate::server::{Sandbox, Server, Snapshot};

impl Server {
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
                Some(Misbehaviour::Stuck) => {
                    server.stick().await;
                    Duration::ZERO
                }
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
                        tracing::error!(sandbox.id = row.id, error = error_chain::line(error), "capture");
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
    let mut command = jail.command("/", &environment, &[SHELL, "-c", "kill -\"$0\" -1", signal]);
    // No process but pid 1 makes kill fail: nothing to freeze.
    drop(command.status().await);
}
