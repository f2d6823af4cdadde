//! Room first, then a sandbox of the target's name: the lease.

use std::time::Duration;

use account::{Admission, Lack, NotAdmitted, Rooms};
use job::{Failure, FailureKind, Outcome, Scope, Stage};
use serde::Deserialize;

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::from_call;
use crate::lease::{Acquired, Lease, Leases};
use crate::stages::resolve::Wanted;

/// The section `[sandboxes]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSection {
    /// How long an idle sandbox stays before Daytona stops it, which deletes it.
    #[serde(with = "humantime_serde")]
    pub auto_stop: Duration,
    /// How long any sandbox of the fleet lives at most.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How long a sandbox may take to start.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
    /// Less free disk than this after checkout or install fails the attempt, in MB (10^6 bytes).
    pub min_free_disk_mb: u64,
}

/// Makes sure of room, and takes the lease.
#[derive(Debug)]
pub(crate) struct Provisioner {
    pub(crate) leases: Leases,
    pub(crate) rooms: Rooms,
}

impl Provisioner {
    /// Takes the lease of the attempt's target, in a sandbox from its base, or ends the attempt as busy. What it is admitted by is
    /// kept until its last sandbox is gone.
    pub(crate) async fn run(
        &self,
        attempt: &Attempt,
        wanted: &Wanted,
    ) -> Result<(Lease, Admission), EarlyEnd> {
        let Wanted { base, purpose, .. } = wanted;
        let admission =
            self.rooms.admit(base.size, *purpose).await.map_err(|refusal| end_without_room(&refusal))?;
        match self.leases.acquire(attempt, &base.id).await? {
            Acquired::Held(lease) => Ok((*lease, admission)),
            Acquired::Busy { holder_job, seen } => {
                attempt.note_leases_seen(seen);
                Err(Outcome::Busy { holder_job }.into())
            }
        }
    }
}

/// The end of an attempt that looked before it leapt.
fn end_without_room(refusal: &NotAdmitted) -> EarlyEnd {
    match refusal {
        NotAdmitted::Count(error) => from_call(error, Stage::Provision),
        NotAdmitted::Full(full) => match full.lack {
            Lack::Snapshot => {
                tracing::warn!(%full, "no room for another snapshot");
                Outcome::OverQuota.into()
            }
            Lack::Sandbox => {
                let text = format!("no room for another sandbox: {full}");
                Failure::new(FailureKind::ProvisionNoCapacity, text).with_scope(Scope::Daytona).into()
            }
        },
    }
}
