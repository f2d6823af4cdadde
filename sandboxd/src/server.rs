//! What one server knows: every sandbox and snapshot, behind one short lock that is never held over an await.
//! All changes of state go through `lifecycle`; the routes only read and ask.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessCache;
use crate::disk::{Disk, Layer};
use crate::error::ApiError;
use crate::faults::Faults;
use crate::jail::Jail;
use crate::lockout::Lockouts;
use crate::plan::Plan;
use crate::planted::Planted;
use crate::rows::{SandboxRow, SandboxState, SnapshotFile, SnapshotRow, now};
use crate::session::Session;
use crate::settings::Settings;

/// What a sandbox is started from for the first time.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) layer: Arc<Layer>,
    /// The snapshot, and what has to travel to a runner that has not had it yet.
    pub(crate) snapshot: String,
    pub(crate) added_bytes: u64,
}

pub(crate) struct Sandbox {
    pub(crate) row: SandboxRow,
    /// The snapshot's baked env with the sandbox's own on top.
    pub(crate) env: BTreeMap<String, String>,
    /// Changes made through `POST /env`: for later processes, never captured.
    pub(crate) daemon_env: BTreeMap<String, String>,
    pub(crate) jail: Option<Arc<Jail>>,
    pub(crate) layer: Arc<Layer>,
    pub(crate) source: Source,
    pub(crate) sessions: HashMap<String, Arc<Session>>,
    pub(crate) changed: watch::Sender<SandboxState>,
    pub(crate) open_calls: u32,
    pub(crate) stopped_at: Option<DateTime<Utc>>,
}

impl Sandbox {
    pub(crate) fn enter(&mut self, state: SandboxState) {
        tracing::debug!(sandbox.id = %self.row.id, state = state.name(), "sandbox state");
        self.row.enter(state);
        self.stopped_at = (state == SandboxState::Stopped).then(now);
        self.changed.send_replace(state);
    }

    pub(crate) fn check_settled(&self) -> Result<(), ApiError> {
        if self.row.state.is_pending() { Err(ApiError::StateChange) } else { Ok(()) }
    }
}

pub(crate) struct Snapshot {
    pub(crate) file: SnapshotFile,
    pub(crate) layer: Arc<Layer>,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) sandboxes: HashMap<String, Sandbox>,
    pub(crate) snapshots: HashMap<String, Snapshot>,
    /// Rows that tests put beside them.
    pub(crate) planted: Planted,
    /// Which runner has pulled which snapshot.
    pub(crate) pulled: HashSet<(String, String)>,
    /// How many sandboxes were made: runners take them in turn.
    pub(crate) created: u32,
}

impl Store {
    /// By id, or by the name of one that isn't being destroyed (its name is free at once).
    pub(crate) fn sandbox(&mut self, organization: &str, id_or_name: &str) -> Result<&mut Sandbox, ApiError> {
        let id = self
            .sandboxes
            .values()
            .map(|sandbox| &sandbox.row)
            .filter(|row| row.organization_id == organization && row.state != SandboxState::Destroyed)
            .find(|row| {
                row.id == id_or_name || (row.name == id_or_name && row.state != SandboxState::Destroying)
            })
            .map(|row| row.id.clone());
        id.and_then(|id| self.sandboxes.get_mut(&id))
            .ok_or_else(|| ApiError::NoSandbox(id_or_name.to_owned()))
    }

    /// To look at: also one that waited too long for a runner, by its id.
    pub(crate) fn look_at(&mut self, organization: &str, id_or_name: &str) -> Result<&SandboxRow, ApiError> {
        let timed_out = self.sandboxes.get(id_or_name).is_some_and(|sandbox| {
            sandbox.row.organization_id == organization && sandbox.row.state == SandboxState::Destroyed
        });
        if timed_out {
            return Ok(&self.sandboxes[id_or_name].row);
        }
        self.sandbox(organization, id_or_name).map(|sandbox| &sandbox.row)
    }

    pub(crate) fn snapshot(&mut self, organization: &str, id_or_name: &str) -> Option<&mut Snapshot> {
        self.snapshots.values_mut().find(|snapshot| {
            let row = &snapshot.file.row;
            visible(row, organization) && (row.id == id_or_name || row.name == id_or_name)
        })
    }

    pub(crate) fn count_snapshots(&self, organization: &str) -> usize {
        let counted = |row: &SnapshotRow| {
            row.organization_id.as_deref() == Some(organization) && row.state.uses_quota()
        };
        self.snapshots.values().filter(|snapshot| counted(&snapshot.file.row)).count()
    }
}

pub(crate) fn visible(row: &SnapshotRow, organization: &str) -> bool {
    row.organization_id.as_deref().is_none_or(|owner| owner == organization)
}

pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) disk: Disk,
    pub(crate) plan: Plan,
    pub(crate) store: Mutex<Store>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) lockouts: Lockouts,
    pub(crate) access: AccessCache,
    pub(crate) tasks: TaskTracker,
    pub(crate) ending: CancellationToken,
    /// `http://host:port`, without a path.
    pub(crate) url: String,
    pub(crate) started_at: DateTime<Utc>,
}

impl Server {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn toolbox_url(&self) -> String {
        format!("{}/toolbox", self.url)
    }
}
