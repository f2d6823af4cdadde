//! The register points at the new prebuild, and only then are old ones collected. Never the last good one.

use std::collections::BTreeSet;

use broker::Register;
use chrono::{DateTime, Duration, Utc};
use daytona::{Client, Snapshot};
use job::{
    Completeness, Failure, FailureKind, PrebuildName, PrebuildRecord, RegisterEntry, SandboxName, Scope,
    Stage, TargetState,
};
use serde::Deserialize;

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;

/// The section `[prebuilds]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrebuildSection {
    /// How long a prebuild that is no longer kept stays after a sandbox was last started from it.
    #[serde(with = "humantime_serde")]
    pub in_use: std::time::Duration,
}

/// Points the register at `prebuild`; the one before it is kept.
pub(crate) async fn run(
    attempt: &Attempt,
    register: &Register,
    prebuild: &PrebuildRecord,
    keep: u32,
) -> Result<TargetState, EarlyEnd> {
    let now = Utc::now();
    let target = &attempt.job.target;
    let state = register
        .get(target)
        .map_or_else(|| TargetState::new(target.clone(), now), std::sync::Arc::unwrap_or_clone);
    let state = promoted(state, prebuild.clone(), keep, now);
    register.put(&RegisterEntry::Target(Box::new(state.clone()))).await.map_err(|error| {
        let text = format!("the register in RabbitMQ could not be written: {}", error_chain::line(&error));
        Failure::new(FailureKind::RegisterUnavailable, text).with_scope(Scope::Broker).at(Stage::Promote)
    })?;
    Ok(state)
}

/// The state after a promotion: the newest `keep` prebuilds, and the last complete one whatever its age.
fn promoted(mut state: TargetState, prebuild: PrebuildRecord, keep: u32, now: DateTime<Utc>) -> TargetState {
    let before: Vec<PrebuildRecord> = state
        .promoted
        .take()
        .into_iter()
        .chain(state.kept.drain(..))
        .filter(|kept| kept.name != prebuild.name)
        .collect();
    let room = usize::try_from(keep.max(1)).unwrap_or(usize::MAX) - 1;
    let has_complete = prebuild.completeness == Completeness::Complete
        || before.iter().take(room).any(|kept| kept.completeness == Completeness::Complete);
    let last_complete = if has_complete {
        None
    } else {
        before.iter().skip(room).find(|kept| kept.completeness == Completeness::Complete).cloned()
    };
    state.kept = before.into_iter().take(room).chain(last_complete).collect();
    state.promoted = Some(prebuild);
    state.updated_at = now;
    state
}

/// Deletes this target's prebuilds that the register no longer keeps. What is in use, or young, stays for the next time.
pub(crate) async fn collect(client: &Client, name: &SandboxName, state: &TargetState, in_use_for: Duration) {
    let snapshots = match client.list_snapshots(&name.prebuild_prefix()).await {
        Ok(snapshots) => snapshots,
        Err(error) => {
            tracing::warn!(
                error = error_chain::line(&error),
                "old prebuilds not collected; the next promotion tries again"
            );
            return;
        }
    };
    for snapshot in superfluous(&snapshots, name, state, in_use_for, Utc::now()) {
        match client.delete_snapshot(&snapshot.id).await {
            Ok(_) => tracing::info!(prebuild = snapshot.name, "old prebuild collected"),
            Err(error) => {
                tracing::warn!(
                    prebuild = snapshot.name,
                    error = error_chain::line(&error),
                    "old prebuild not collected"
                );
            }
        }
    }
}

fn superfluous<'a>(
    snapshots: &'a [Snapshot],
    name: &SandboxName,
    state: &TargetState,
    in_use_for: Duration,
    now: DateTime<Utc>,
) -> Vec<&'a Snapshot> {
    let Some(promoted) = &state.promoted else { return Vec::new() };
    let kept: BTreeSet<String> = state.prebuilds().map(|prebuild| prebuild.name.to_string()).collect();
    snapshots
        .iter()
        .filter(|snapshot| !kept.contains(&snapshot.name))
        .filter(|snapshot| {
            // Ours by its whole name, and older than the promoted one: never what another attempt is making.
            snapshot
                .name
                .parse::<PrebuildName>()
                .is_ok_and(|prebuild| prebuild.sandbox() == name && prebuild.attempt() < promoted.attempt)
        })
        .filter(|snapshot| snapshot.last_used_at.is_none_or(|used| now - used >= in_use_for))
        .collect()
}

#[cfg(test)]
mod tests;
