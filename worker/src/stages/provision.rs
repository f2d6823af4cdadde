//! Room first, then a sandbox of the target's name: the lease.

use std::time::Duration;

use daytona::Client;
use job::{Failure, FailureKind, FleetName, Outcome, Scope, Stage};
use lease::fleet_label;
use serde::Deserialize;

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::from_call;
use crate::lease::{Acquired, Lease, Leases};

/// The section `[sandboxes]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSection {
    /// The most sandboxes of this fleet at once; 0 leaves the limit to Daytona's quota.
    pub max: u32,
    /// Sandboxes' worth of vCPU that are left to sessions.
    pub reserve_for_sessions: u32,
    /// Snapshots that are left to others.
    pub reserve_snapshots: u32,
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
    pub(crate) room: SandboxSection,
}

impl Provisioner {
    /// Takes the lease of the attempt's target, in a sandbox from `base_snapshot`, or ends the attempt as busy.
    pub(crate) async fn run(&self, attempt: &Attempt, base_snapshot: &str) -> Result<Lease, EarlyEnd> {
        make_sure_of_room(&self.leases.client, &attempt.job.fleet, &self.room).await?;
        match self.leases.acquire(attempt, base_snapshot).await? {
            Acquired::Held(lease) => Ok(*lease),
            Acquired::Busy { holder_job, seen } => {
                attempt.note_leases_seen(seen);
                Err(Outcome::Busy { holder_job }.into())
            }
        }
    }
}

/// Looks before it leaps: an organization that is full is not asked for more.
async fn make_sure_of_room(
    client: &Client,
    fleet: &FleetName,
    room: &SandboxSection,
) -> Result<(), EarlyEnd> {
    let refused = |error: &daytona::Error| from_call(error, Stage::Provision);
    if room.max > 0 {
        let max = room.max;
        let alive = client.list_sandboxes(&fleet_label(fleet)).await.map_err(|error| refused(&error))?.len();
        if alive >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(no_room(&format!("the fleet has {alive} sandboxes of max_sandboxes {max}")).into());
        }
    }
    let Some(organization) = client.organization().await.map_err(|error| refused(&error))? else {
        return Ok(());
    };
    let usage = match client.usage(&organization).await {
        Ok(usage) => usage,
        Err(error) => {
            // A key without the right to read it can still build; creates and captures then say when there is no room.
            tracing::debug!(error = error_chain::line(&error), "quota not readable");
            return Ok(());
        }
    };
    let snapshots = usage.current_snapshot_usage + f64::from(room.reserve_snapshots);
    if usage.total_snapshot_quota > 0.0 && snapshots >= usage.total_snapshot_quota {
        return Err(Outcome::OverQuota.into());
    }
    for region in &usage.region_usage {
        let reserved = f64::from(room.reserve_for_sessions) * region.max_cpu_per_sandbox.unwrap_or(1.0);
        if region.total_cpu_quota > 0.0 && region.current_cpu_usage + reserved >= region.total_cpu_quota {
            return Err(no_room(&format!(
                "{} of {} vCPU are in use in {} and {reserved} are reserved for sessions",
                region.current_cpu_usage, region.total_cpu_quota, region.region_id
            ))
            .into());
        }
    }
    Ok(())
}

fn no_room(why: &str) -> Failure {
    Failure::new(FailureKind::ProvisionNoCapacity, format!("no room for another sandbox: {why}"))
        .with_scope(Scope::Daytona)
}
