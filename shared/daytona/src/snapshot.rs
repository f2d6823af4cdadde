//! A snapshot as Daytona describes it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::class::SandboxClass;
use crate::ids::{OrganizationId, SandboxId, SnapshotId};
use crate::lenient;
use crate::states::SnapshotState;

/// After how long without a start Daytona puts a snapshot to sleep, unless the organization has it otherwise: 20160 minutes.
pub const SLEEPS_AFTER: Duration = Duration::from_hours(14 * 24);

/// A snapshot. Names are for ever; ids are what to keep.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its id, never given to another snapshot.
    #[serde(deserialize_with = "id")]
    pub id: SnapshotId,
    /// Its name, unique in the organization and never to change.
    #[serde(default, deserialize_with = "lenient::word")]
    pub name: String,
    /// The organization that owns it; none for Daytona's own.
    #[serde(default, deserialize_with = "lenient::named")]
    pub organization_id: Option<OrganizationId>,
    /// Whether it is Daytona's own, given to all.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub general: bool,
    /// What it is doing.
    #[serde(default = "unknown", deserialize_with = "state")]
    pub state: SnapshotState,
    /// Why it failed, where Daytona gives a reason.
    #[serde(default, deserialize_with = "lenient::text")]
    pub error_reason: Option<String>,
    /// Its size in GB, once Daytona has measured it.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<f64>,
    /// vCPUs of sandboxes made from it.
    #[serde(default, deserialize_with = "lenient::amount")]
    pub cpu: f64,
    /// Memory of sandboxes made from it, GiB.
    #[serde(default, deserialize_with = "lenient::amount")]
    pub mem: f64,
    /// Disk of sandboxes made from it, GiB.
    #[serde(default, deserialize_with = "lenient::amount")]
    pub disk: f64,
    /// What kind of machine sandboxes made from it are.
    #[serde(default, rename = "sandboxClass")]
    pub class: SandboxClass,
    /// When it was made.
    #[serde(default, deserialize_with = "lenient::time")]
    pub created_at: Option<DateTime<Utc>>,
    /// When a sandbox was last made from it.
    #[serde(default, deserialize_with = "lenient::time")]
    pub last_used_at: Option<DateTime<Utc>>,
    /// The sandbox it was captured from; newer Daytonas only.
    #[serde(default, deserialize_with = "lenient::named")]
    pub source_sandbox_id: Option<SandboxId>,
}

impl Snapshot {
    /// How long ago a sandbox was last made from it, or it was made itself: by this Daytona puts snapshots to sleep.
    pub fn idle_at(&self, now: DateTime<Utc>) -> Duration {
        let last = self.last_used_at.max(self.created_at);
        last.and_then(|last| (now - last).to_std().ok()).unwrap_or_default()
    }
}

/// In transition, as every state that this client does not know.
fn unknown() -> SnapshotState {
    SnapshotState::Other("unknown".to_owned())
}

fn state<'de, D: serde::Deserializer<'de>>(input: D) -> Result<SnapshotState, D::Error> {
    Ok(lenient::named(input)?.unwrap_or_else(unknown))
}

fn id<'de, D: serde::Deserializer<'de>>(input: D) -> Result<SnapshotId, D::Error> {
    lenient::id(input).map(SnapshotId::new)
}
