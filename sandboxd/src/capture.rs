//! Snapshots: made from a sandbox, loaded at the start, removed. snapshot.json is written last and removed first, so a
//! directory without it is rubbish. As in production a capture that fails leaves no trace but the sandbox's old state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::disk::Layer;
use crate::faults::Misbehaviour;
use crate::jail::{Jail, SHELL};
use crate::lifecycle::ChangeError;
use crate::manner::Manner;
use crate::rows::{REGION, SandboxRow, SandboxState, SnapshotFile, SnapshotRow, SnapshotState, now};
use crate::server::{Server, Snapshot, Store};

/// What Daytona said of a pulled base, in GB, and of a capture of it in which nothing was changed: the one is what a registry
/// holds, the other what a disk does, so the two can't be compared.
pub(crate) const PULLED_SIZE: f64 = 0.148;
const CAPTURED_SIZE: f64 = 0.389;

/// One capture under way.
struct Capture {
    id: String,
    name: String,
    sandbox: SandboxRow,
    /// The sandbox's state before, which it returns to.
    before: SandboxState,
    env: BTreeMap<String, String>,
    /// What the sandbox was started from.
    parent: Arc<Layer>,
}

impl Server {
    /// Marks the row `snapshotting`; the snapshot is there when everything is copied, or never.
    pub(crate) fn capture(
        self: &Arc<Self>,
        store: &mut Store,
        id: &str,
        name: String,
        misbehaviour: Option<Misbehaviour>,
    ) -> Option<SandboxRow> {
        let sandbox = store.sandboxes.get_mut(id)?;
        let before = sandbox.row.state;
        sandbox.enter(SandboxState::Snapshotting);
        let (jail, row) = (sandbox.jail.clone(), sandbox.row.clone());
        let capture = Capture {
            id: Uuid::new_v4().to_string(),
            name,
            sandbox: row.clone(),
            before,
            env: sandbox.env.clone(),
            parent: Arc::clone(&sandbox.layer),
        };
        let silent = matches!(misbehaviour, Some(Misbehaviour::SilentSnapshotFailure));
        if self.settings.manner == Manner::V0_226 && !silent {
            let snapshot = self.begun(&capture);
            store.snapshots.insert(capture.id.clone(), snapshot);
        }
        let server = Arc::clone(self);
        self.tasks.spawn(async move { server.carry_out(capture, jail, misbehaviour).await });
        Some(row)
    }

    async fn carry_out(&self, capture: Capture, jail: Option<Arc<Jail>>, misbehaviour: Option<Misbehaviour>) {
        // In v0.190 the sandbox's state is back before the row is inserted; 20 to 80 ms were seen.
        let mut late = match self.settings.manner {
            Manner::V0_190 => Duration::from_millis(50),
            Manner::V0_226 => Duration::ZERO,
        };
        let mut failure = None;
        match misbehaviour {
            Some(Misbehaviour::LateSnapshotRow(delay)) => late = delay,
            Some(Misbehaviour::Stuck) => self.stick().await,
            Some(Misbehaviour::SnapshotError { reason }) => failure = Some(reason),
            Some(Misbehaviour::SilentSnapshotFailure) => failure = Some("nobody is told".to_owned()),
            Some(Misbehaviour::StartError { .. } | Misbehaviour::NoRunner | Misbehaviour::ProxyCannotAsk)
            | None => {}
        }
        let captured = if let Some(reason) = failure {
            Err(reason)
        } else {
            freeze(jail.as_deref(), "STOP").await;
            let captured = self.copy_out(&capture).await;
            freeze(jail.as_deref(), "CONT").await;
            captured.map_err(|error| error_chain::line(&error))
        };
        if late > Duration::ZERO || captured.is_err() {
            self.back(&capture);
            // The planted lateness itself: the row comes after the sandbox has left `snapshotting`.
            tokio::select! { () = tokio::time::sleep(late) => {}, () = self.ending.cancelled() => {} }
        }
        match captured {
            Ok(snapshot) => {
                self.store().snapshots.insert(capture.id.clone(), snapshot);
                self.faults.count("snapshot captured");
            }
            Err(reason) => self.capture_failed(&capture, reason),
        }
        self.back(&capture);
    }

    /// Nothing at all is left of it in v0.190: the sandbox is as it was, and no row appears.
    fn capture_failed(&self, capture: &Capture, reason: String) {
        tracing::warn!(sandbox.id = capture.sandbox.id, reason, "capture");
        if let Some(snapshot) = self.store().snapshots.get_mut(&capture.id) {
            snapshot.file.row.state = SnapshotState::Error;
            snapshot.file.row.error_reason = Some(reason);
            snapshot.file.row.updated_at = now();
        }
    }

    /// The row as it is from a capture's beginning in 0.226.
    fn begun(&self, capture: &Capture) -> Snapshot {
        let row = SnapshotRow {
            id: capture.id.clone(),
            organization_id: Some(capture.sandbox.organization_id.clone()),
            state: SnapshotState::Snapshotting,
            size: None,
            cpu: capture.sandbox.cpu,
            mem: capture.sandbox.memory,
            disk: capture.sandbox.disk,
            sandbox_class: capture.sandbox.sandbox_class.clone(),
            source_sandbox_id: self.settings.manner.is_recent().then(|| capture.sandbox.id.clone()),
            ..empty_snapshot(capture.name.clone())
        };
        let file = SnapshotFile { row, env: capture.env.clone(), added_bytes: 0 };
        Snapshot { file, layer: self.disk.layer(&capture.id) }
    }

    fn back(&self, capture: &Capture) {
        if let Some(sandbox) = self.store().sandboxes.get_mut(&capture.sandbox.id)
            && sandbox.row.state == SandboxState::Snapshotting
        {
            sandbox.enter(capture.before);
        }
    }

    async fn copy_out(&self, capture: &Capture) -> Result<Snapshot, ChangeError> {
        let layer = self.disk.capture(&capture.sandbox.id, &capture.id).await?;
        let (own, parent) = (Arc::clone(&layer), Arc::clone(&capture.parent));
        let counted = tokio::task::spawn_blocking(move || (own.bytes(), parent.bytes())).await;
        let (bytes, parent) = counted.unwrap_or_default();
        let added_bytes = bytes.saturating_sub(parent);
        self.transfer(self.settings.transfers.capture_per_megabyte, added_bytes).await;
        let at = now();
        #[expect(clippy::cast_precision_loss, reason = "a size in GB for people")]
        let size = CAPTURED_SIZE + bytes as f64 / 1e9;
        let begun = self.begun(capture);
        let row = SnapshotRow {
            state: SnapshotState::Active,
            size: Some(size),
            created_at: begun.file.row.created_at.min(at),
            updated_at: at,
            last_used_at: Some(at),
            ..begun.file.row
        };
        let snapshot = Snapshot { file: SnapshotFile { row, added_bytes, ..begun.file }, layer };
        self.describe(&snapshot.file)?;
        Ok(snapshot)
    }

    /// As long as so many bytes travel.
    pub(crate) async fn transfer(&self, per_megabyte: Duration, bytes: u64) {
        let megabytes = u32::try_from(bytes / 1_000_000).unwrap_or(u32::MAX);
        let lasts = per_megabyte.saturating_mul(megabytes);
        tokio::select! { () = tokio::time::sleep(lasts) => {}, () = self.ending.cancelled() => {} }
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
        let row = SnapshotRow {
            image_name: format!("sandboxd/{name}:1"),
            size: Some(PULLED_SIZE),
            ..empty_snapshot(name.clone())
        };
        let layer = self.disk.base(&row.id, &self.settings.foreign_files)?;
        let snapshot = Snapshot { file: SnapshotFile { row, env: BTreeMap::new(), added_bytes: 0 }, layer };
        self.describe(&snapshot.file)?;
        self.store().snapshots.insert(snapshot.file.row.id.clone(), snapshot);
        Ok(())
    }
}

pub(crate) fn empty_snapshot(name: String) -> SnapshotRow {
    let at = now();
    SnapshotRow {
        id: Uuid::new_v4().to_string(),
        organization_id: None,
        general: false,
        name,
        image_name: String::new(),
        state: SnapshotState::Active,
        size: None,
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
