//! Collects what nobody is given any more: old prebuilds, half-made ones, withdrawn ones, kept ones that sleep. Nobody else does.
//!
//! What is superfluous once stays so (`TargetState::superfluous`), so this needs no lease, and a keeper that does not know yet that it
//! is none does no harm. What was left out or failed is looked at again the next time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use broker::{Register, SyncError};
use chrono::{DateTime, TimeDelta, Utc};
use daytona::{Client, Snapshot, SnapshotId, SnapshotState};
use job::{FleetName, PrebuildName, SandboxName, SnapshotCondition, Superfluous, TargetState};
use thiserror::Error;

use super::{Keeper, REGISTER_READ};

/// Promotions of so long are dealt with at one look: each makes something superfluous, which counts against the quota.
const SOON: Duration = Duration::from_secs(30);
/// What one look may cost of the rate limit that the whole organization shares: so long a pause for each page of the list.
const PAUSE_PER_PAGE: Duration = Duration::from_secs(1);
/// How many entries a page of Daytona's list has.
const PAGE: usize = 200;
/// Deletions of one look; the rest waits for the next.
const DELETIONS: usize = 500;
/// So many failures in a row are not about the single snapshot.
const FAILURES_IN_A_ROW: usize = 5;

/// What kept the keeper from looking.
#[derive(Debug, Error)]
enum NotLooked {
    /// Daytona does not say which there are.
    #[error("the snapshots could not be listed")]
    List(#[from] daytona::Error),
    /// What is given could not be found out.
    #[error("the register could not be read")]
    Register(#[from] SyncError),
}

/// A snapshot, and why it may be deleted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found<'a> {
    snapshot: &'a Snapshot,
    why: Superfluous,
}

impl Keeper {
    /// Looks now, every so often, and soon after promotions.
    pub(super) async fn collect(&self) {
        let Some(client) = &self.client else { return std::future::pending().await };
        let mut refused = HashSet::new();
        loop {
            let promotions = self.register.promotions();
            let listed = match self.collect_once(client, &mut refused).await {
                Ok(listed) => listed,
                Err(error) => {
                    tracing::warn!(
                        error = error_chain::line(&error),
                        "old prebuilds not collected; the next look tries again"
                    );
                    0
                }
            };
            let pages = u32::try_from(listed / PAGE).unwrap_or(u32::MAX);
            let pause = SOON.min(self.section.collect).max(PAUSE_PER_PAGE.saturating_mul(pages));
            // Superfluous becomes some of it by age alone, and Daytona tells nobody what went wrong: so it is looked at now and then.
            tokio::select! {
                () = tokio::time::sleep(self.section.collect.max(pause)) => {}
                () = wait_for_promotion(&self.register, promotions, pause) => {}
            }
        }
    }

    /// Looks once, for a producer that fires one tick and leaves.
    pub(super) async fn collect_and_leave(&self) {
        let Some(client) = &self.client else { return };
        if let Err(error) = self.collect_once(client, &mut HashSet::new()).await {
            tracing::warn!(error = error_chain::line(&error), "old prebuilds not collected");
        }
    }

    /// Deletes what is superfluous, one after the other, and says how many snapshots there are.
    ///
    /// What Daytona refused to delete at an earlier look comes last, so that it keeps nothing else from being deleted.
    async fn collect_once(
        &self,
        client: &Client,
        refused: &mut HashSet<SnapshotId>,
    ) -> Result<usize, NotLooked> {
        let snapshots = client.list_snapshots(&SandboxName::fleet_prefix(&self.fleet)).await?;
        // Promoted and kept are as everybody knows them now.
        self.register.sync(REGISTER_READ).await?;
        let name = |state: &Arc<TargetState>| SandboxName::of(&self.fleet, &state.target);
        let states: HashMap<SandboxName, Arc<TargetState>> =
            self.register.targets().into_iter().map(|state| (name(&state), state)).collect();
        self.build_sleepers_anew(client, &snapshots, states.values()).await;
        let in_use = TimeDelta::from_std(self.section.in_use).unwrap_or(TimeDelta::MAX);
        let is_in_use = |snapshot: &Snapshot, now| {
            self.awakenings.last_use(snapshot).is_some_and(|used| now - used < in_use)
        };
        let mut found = select_superfluous(&snapshots, &self.fleet, &states, is_in_use, self.clock.now());
        refused.retain(|id| found.iter().any(|found| found.snapshot.id == *id));
        found.sort_by_key(|found| refused.contains(&found.snapshot.id));
        let mut failures = 0;
        for Found { snapshot, why } in found.into_iter().take(DELETIONS) {
            match delete(client, snapshot, why).await {
                Ok(false) => failures = 0,
                Ok(true) => {
                    failures = 0;
                    self.metrics.count_collected(why);
                    tracing::info!(prebuild = snapshot.name, %why, "prebuild collected");
                }
                Err(error) => {
                    failures += 1;
                    refused.insert(snapshot.id.clone());
                    self.metrics.count_not_collected();
                    tracing::warn!(
                        prebuild = snapshot.name,
                        error = error_chain::line(&error),
                        "prebuild not collected; the next look tries again"
                    );
                }
            }
            if failures == FAILURES_IN_A_ROW {
                break;
            }
        }
        Ok(snapshots.len())
    }
}

/// Deletes it. That one sleeps which is kept is what its own id answers, for a list may be stale.
async fn delete(client: &Client, snapshot: &Snapshot, why: Superfluous) -> Result<bool, daytona::Error> {
    if why == Superfluous::Asleep {
        let found = client.get_snapshot(&snapshot.id).await?;
        if found.is_none_or(|found| found.state != SnapshotState::Inactive) {
            return Ok(false);
        }
    }
    client.delete_snapshot(&snapshot.id).await.map(|_| true)
}

/// Until somebody has promoted since, and then for the pause.
async fn wait_for_promotion(register: &Register, seen: u64, pause: Duration) {
    let mut changes = register.changes();
    while register.promotions() == seen {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
    // Further promotions of this time are dealt with at the same look.
    tokio::time::sleep(pause).await;
}

/// What may be deleted: only what has a prebuild's exact name, of this fleet, and of a target that the register knows.
fn select_superfluous<'a>(
    snapshots: &'a [Snapshot],
    fleet: &FleetName,
    states: &HashMap<SandboxName, Arc<TargetState>>,
    is_in_use: impl Fn(&Snapshot, DateTime<Utc>) -> bool,
    now: DateTime<Utc>,
) -> Vec<Found<'a>> {
    let find = |snapshot: &'a Snapshot| {
        let name: PrebuildName = snapshot.name.parse().ok()?;
        let state = states.get(name.sandbox()).filter(|_| name.sandbox().fleet() == fleet.as_str())?;
        let why = state.superfluous(&name, condition(&snapshot.state)?, now)?;
        // From a sleeper nobody can start, whoever was told its name.
        let stays =
            why == Superfluous::Old && snapshot.state == SnapshotState::Active && is_in_use(snapshot, now);
        (!stays).then_some(Found { snapshot, why })
    };
    snapshots.iter().filter_map(find).collect()
}

/// None for what goes already.
fn condition(state: &SnapshotState) -> Option<SnapshotCondition> {
    match state {
        SnapshotState::Active => Some(SnapshotCondition::Whole),
        SnapshotState::Inactive => Some(SnapshotCondition::Asleep),
        SnapshotState::Error | SnapshotState::BuildFailed => Some(SnapshotCondition::Failed),
        SnapshotState::Removing => None,
        SnapshotState::Building
        | SnapshotState::Pending
        | SnapshotState::Pulling
        | SnapshotState::Snapshotting
        | SnapshotState::Other(_) => Some(SnapshotCondition::Pending),
    }
}

#[cfg(test)]
mod tests;
