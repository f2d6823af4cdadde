//! Keeps the listed targets' base snapshots awake, and, where the fleet wants it, prebuilds that no session starts from: a sandbox is
//! started from each in time, and deleted.
//!
//! A base that fell asleep would leave nothing to build a sleeping prebuild anew from, and only cold builds start from one.
//! Daytona counts the start as any other (`lastUsedAt`), so it is remembered here that it was nobody's session. The sandbox says so in
//! a label, is nobody's lease by its name, and dies by itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use daytona::{
    BaseFinding, Client, CreateOutcome, NewSandbox, Sandbox, SandboxId, Snapshot, SnapshotId, SnapshotState,
    pace,
};
use job::SandboxName;
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Idle, Keeper, ListedTargets};
use crate::metrics::KeptAwake;

/// So many looks in the time after which Daytona puts a snapshot to sleep: twice a day, in 14 days.
const LOOKS: u32 = 28;
/// How long a sandbox may take to start, pulling the snapshot to a runner included.
const START: Duration = Duration::from_mins(15);
/// How long it may take to go.
const DELETE: Duration = Duration::from_mins(5);
/// It stops when it is idle for so long, and is deleted then, should the keeper not come to it.
const LEFT_ALONE: Duration = Duration::from_mins(20);

/// When this keeper last started a sandbox from a snapshot, as Daytona noted it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Awakenings(Arc<Mutex<HashMap<SnapshotId, DateTime<Utc>>>>);

impl Awakenings {
    /// When somebody else last started from it, as far as it is known: of a start of the keeper's own, not even that there was one.
    pub(super) fn last_use(&self, snapshot: &Snapshot) -> Option<DateTime<Utc>> {
        let own = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&snapshot.id).copied();
        snapshot.last_used_at.filter(|used| own.is_none_or(|own| *used > own))
    }

    fn note(&self, snapshot: SnapshotId, at: DateTime<Utc>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(snapshot, at);
    }

    fn keep_only(&self, snapshots: &[Snapshot]) {
        let there: HashSet<&SnapshotId> = snapshots.iter().map(|snapshot| &snapshot.id).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| there.contains(id));
    }
}

/// Why a snapshot was not started from.
#[derive(Debug, Error)]
pub(super) enum NotKept {
    #[error(transparent)]
    Call(#[from] daytona::Error),
    #[error("another sandbox has the name")]
    NameTaken,
    #[error("the sandbox failed to start: {0}")]
    Failed(daytona::Message),
    #[error(transparent)]
    Start(#[from] daytona::StartError),
    #[error("the sandbox was not deleted, and dies by itself")]
    Delete(#[from] daytona::DeleteError),
}

impl Keeper {
    /// Looks as soon as it is known what is listed, and then every so often.
    pub(super) async fn keep_awake(&self) {
        let Some(client) = &self.client else { return std::future::pending().await };
        let mut listing = self.listing.clone();
        if listing.wait_for(Option::is_some).await.is_err() {
            return std::future::pending().await;
        }
        loop {
            self.keep_awake_once(client).await;
            // Nobody tells that a snapshot is about to be put to sleep.
            tokio::time::sleep(self.section.sleeps_after / LOOKS).await;
        }
    }

    /// Looks once, for a producer that fires one tick and leaves.
    pub(super) async fn keep_awake_and_leave(&self) {
        if let Some(client) = &self.client {
            self.keep_awake_once(client).await;
        }
    }

    /// Starts a sandbox from each snapshot that is due, one after the other.
    async fn keep_awake_once(&self, client: &Client) {
        let Some(listed) = self.listing.borrow().clone() else { return };
        let mut snapshots = find_bases(client, &listed).await;
        match self.section.idle {
            Idle::Sleep => {}
            Idle::Awake => match self.find_promoted(client, &listed).await {
                Ok(promoted) => snapshots.extend(promoted),
                Err(error) => tracing::warn!(
                    error = error_chain::line(&error),
                    "idle prebuilds not kept awake; the next look tries again"
                ),
            },
        }
        let now = self.clock.now();
        for snapshot in snapshots.iter().filter(|it| is_due(it, self.section.sleeps_after, now)) {
            match self.start_and_delete(client, snapshot).await {
                Ok(()) => {
                    self.metrics.count_kept_awake(KeptAwake::Started);
                    tracing::info!(snapshot = snapshot.name, "an idle snapshot was kept awake");
                }
                Err(error) => {
                    self.metrics.count_kept_awake(KeptAwake::Failed);
                    tracing::warn!(
                        snapshot = snapshot.name,
                        error = error_chain::line(&error),
                        "an idle snapshot was not kept awake; the next look tries again"
                    );
                }
            }
        }
    }

    async fn find_promoted(
        &self,
        client: &Client,
        listed: &ListedTargets,
    ) -> Result<Vec<Snapshot>, daytona::Error> {
        let mut snapshots = client.list_snapshots(&SandboxName::fleet_prefix(&self.fleet)).await?;
        self.awakenings.keep_only(&snapshots);
        let promoted: HashSet<String> = listed
            .targets
            .iter()
            .filter_map(|(target, _)| Some(self.register.get(target)?.promoted.as_ref()?.snapshot_id.clone()))
            .collect();
        snapshots.retain(|snapshot| promoted.contains(snapshot.id.as_str()));
        Ok(snapshots)
    }

    async fn start_and_delete(&self, client: &Client, snapshot: &Snapshot) -> Result<(), NotKept> {
        let sandbox = self.start_for_itself(client, snapshot).await?;
        self.delete_own(client, &sandbox.id).await
    }

    /// Starts a sandbox that is nobody's session and no lease, and notes that its start was no use. None is left where it fails.
    pub(super) async fn start_for_itself(
        &self,
        client: &Client,
        snapshot: &Snapshot,
    ) -> Result<Sandbox, NotKept> {
        // Of no target: whoever looks for a lease or sweeps does not meet it.
        let prefix = SandboxName::fleet_prefix(&self.fleet);
        let name = format!("{prefix}awake.{}", Uuid::new_v4().simple());
        let wish = NewSandbox {
            labels: lease::keep_awake_labels(&self.fleet),
            auto_stop: LEFT_ALONE,
            ttl: START + DELETE,
            ..NewSandbox::new(name.clone(), snapshot.id.to_string())
        };
        let refused = match client.create_sandbox(&wish).await {
            Ok(CreateOutcome::Created(sandbox)) => {
                match self.wait_and_note(client, &sandbox.id, snapshot).await {
                    Ok(started) => return Ok(started),
                    Err(error) => error,
                }
            }
            Ok(CreateOutcome::NameTaken) => NotKept::NameTaken,
            Ok(CreateOutcome::FailedToStart { reason }) => NotKept::Failed(reason),
            Err(error) => NotKept::Call(error),
        };
        // It may be there all the same.
        if let Some(left) = client.get_sandbox(&name).await? {
            self.delete_own(client, &left.id).await?;
        }
        Err(refused)
    }

    /// Deletes a sandbox that was started so.
    pub(super) async fn delete_own(&self, client: &Client, sandbox: &SandboxId) -> Result<(), NotKept> {
        Ok(client.delete_and_confirm(sandbox, Instant::now() + DELETE).await?)
    }

    async fn wait_and_note(
        &self,
        client: &Client,
        sandbox: &SandboxId,
        snapshot: &Snapshot,
    ) -> Result<Sandbox, NotKept> {
        let started = client.wait_until_started(sandbox, Instant::now() + START, pace::STATE).await?;
        if let Some(used) = client.get_snapshot(&snapshot.id).await?.and_then(|it| it.last_used_at) {
            self.awakenings.note(snapshot.id.clone(), used);
        }
        Ok(started)
    }
}

/// What the listed settings' bases mean now. The classes of the workers' settings may have others, which only the workers know.
async fn find_bases(client: &Client, listed: &ListedTargets) -> Vec<Snapshot> {
    let names = listed.targets.iter().map(|(_, settings)| settings.base_snapshot.as_str());
    let mut found: Vec<Snapshot> = Vec::new();
    for BaseFinding { name, result } in client.look_up_bases(names).await {
        match result {
            // Two names may mean one.
            Ok(snapshot) if found.iter().all(|it| it.id != snapshot.id) => found.push(snapshot),
            Ok(_) => {}
            Err(error) => tracing::warn!(
                base = name,
                error = error_chain::line(&error),
                "a base snapshot could not be looked at to keep it awake; the next look tries again"
            ),
        }
    }
    found
}

/// Whether three quarters of the time are over after which Daytona puts it to sleep: what is left is for looks that fail.
fn is_due(snapshot: &Snapshot, sleeps_after: Duration, now: DateTime<Utc>) -> bool {
    snapshot.state == SnapshotState::Active && snapshot.idle_at(now) >= sleeps_after / 4 * 3
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    const LIMIT: Duration = Duration::from_hours(14 * 24);

    fn snapshot(state: &str, created: DateTime<Utc>, used: Option<DateTime<Utc>>) -> Snapshot {
        let row = json!({ "id": "p", "name": "p", "state": state, "createdAt": created, "lastUsedAt": used });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn only_what_is_awake_and_long_idle_is_started_from() {
        let now = Utc::now();
        let days = |days| now - TimeDelta::days(days);
        assert!(is_due(&snapshot("active", days(20), Some(days(11))), LIMIT, now));
        assert!(is_due(&snapshot("active", days(11), None), LIMIT, now), "never used");
        assert!(!is_due(&snapshot("active", days(20), Some(days(10))), LIMIT, now));
        assert!(!is_due(&snapshot("active", days(1), None), LIMIT, now), "just made");
        assert!(!is_due(&snapshot("inactive", days(20), None), LIMIT, now), "nothing wakes it");
        assert!(!is_due(&snapshot("active", days(-1), None), LIMIT, now), "its clock is ahead");
    }

    #[test]
    fn a_start_of_the_keepers_own_is_nobodys_use() {
        let now = Utc::now();
        let awakenings = Awakenings::default();
        let started = snapshot("active", now, Some(now));
        assert_eq!(awakenings.last_use(&started), Some(now));
        awakenings.note(started.id.clone(), now);
        assert_eq!(awakenings.last_use(&started), None);
        let later = now + TimeDelta::minutes(1);
        assert_eq!(awakenings.last_use(&snapshot("active", now, Some(later))), Some(later), "a session's");
        awakenings.keep_only(&[]);
        assert_eq!(awakenings.last_use(&started), Some(now), "it is gone, and forgotten");
    }
}
