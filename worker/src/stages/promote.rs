//! The register points at the new prebuild, and only then are old ones collected. Never the last good one.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use daytona::{Client, Snapshot};
use job::{
    Completeness, EntryVersion, Failure, FailureKind, Folded, Manifest, Outcome, PrebuildName,
    PrebuildRecord, Promotion, SandboxName, TargetState,
};
use serde::Deserialize;

use crate::attempt::{Attempt, milliseconds};
use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::target_register::TargetRegister;

/// The section `[prebuilds]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrebuildSection {
    /// How long a prebuild that is no longer kept stays after a sandbox was last started from it.
    #[serde(with = "humantime_serde")]
    pub in_use: std::time::Duration,
}

/// Points the register at prebuilds, and collects those that it no longer keeps.
#[derive(Debug)]
pub(crate) struct Promoter {
    pub(crate) client: Client,
    pub(crate) register: TargetRegister,
    /// A prebuild that a sandbox was started from this recently stays.
    pub(crate) in_use_for: Duration,
}

impl Promoter {
    /// Points the register at `prebuild`; the one before it is kept. Where another promotion than `follows`, which the register
    /// showed before the branch was looked up, was made meanwhile, that one stands, and the attempt looks again: its commit may
    /// be newer. What an operator has withdrawn is built anew, by an attempt that begins after that.
    pub(crate) async fn run(
        &self,
        attempt: &Attempt,
        prebuild: &PrebuildRecord,
        follows: Option<EntryVersion>,
    ) -> Result<Arc<TargetState>, EarlyEnd> {
        let target = &attempt.job.target;
        let state = self.register.get(target);
        let state = state.unwrap_or_else(|| Arc::new(TargetState::new(target.clone(), Utc::now())));
        if state.is_revoked(prebuild.into()) {
            return Err(revoked().into());
        }
        if state.promotion != follows {
            return Err(ResolveAgain::PromotedMeanwhile.into());
        }
        let promotion = promotion(&state, prebuild.clone(), attempt.job.settings.keep);
        match self.register.promote(target, promotion).await? {
            Folded::Taken => {
                let state = self.register.get(target).unwrap_or(state);
                if state.is_revoked(prebuild.into()) { Err(revoked().into()) } else { Ok(state) }
            }
            Folded::Refused | Folded::Outdated => Err(ResolveAgain::PromotedMeanwhile.into()),
            // A newer attempt had the lease meanwhile, and this snapshot may have been collected: the job begins anew.
            Folded::Overtaken => Err(Outcome::LeaseLost.into()),
        }
    }

    /// The prebuild of this name, when it is promoted or kept already.
    pub(crate) async fn find_promoted(
        &self,
        attempt: &Attempt,
        name: &PrebuildName,
    ) -> Result<Option<PrebuildRecord>, EarlyEnd> {
        let state = self.register.catch_up_and_get(&attempt.job.target).await?;
        Ok(state.and_then(|state| state.prebuilds().find(|prebuild| prebuild.name == *name).cloned()))
    }

    /// Deletes the target's prebuilds that the register no longer keeps after the promotion of `state`. What is in use, or young,
    /// stays for the next time; so does everything where another promotion was made since, which may be of what an older attempt built.
    pub(crate) async fn collect(&self, name: &SandboxName, state: &TargetState) {
        match self.register.catch_up_and_get(&state.target).await {
            Ok(Some(now)) if now.promotion == state.promotion => {}
            Ok(Some(_) | None) => return,
            Err(_) => {
                tracing::warn!(
                    "the register was not read; old prebuilds are collected after the next promotion"
                );
                return;
            }
        }
        let snapshots = match self.client.list_snapshots(&name.prebuild_prefix()).await {
            Ok(snapshots) => snapshots,
            Err(error) => {
                tracing::warn!(
                    error = error_chain::line(&error),
                    "old prebuilds not collected; the next promotion tries again"
                );
                return;
            }
        };
        for snapshot in select_superfluous(&snapshots, name, state, self.in_use_for, Utc::now()) {
            match self.client.delete_snapshot(&snapshot.id).await {
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
}

/// The register's record of a verified prebuild.
pub(crate) fn prebuild_record(
    manifest: &Manifest,
    snapshot: &Snapshot,
    cold_start: std::time::Duration,
) -> PrebuildRecord {
    PrebuildRecord {
        name: manifest.prebuild.clone(),
        snapshot_id: snapshot.id.to_string(),
        commit: manifest.commit.clone(),
        fingerprint: manifest.fingerprint.clone(),
        mode: manifest.mode,
        completeness: if manifest.build_failure.is_some() {
            Completeness::Partial
        } else {
            Completeness::Complete
        },
        flags: manifest.flags.clone(),
        secrets: manifest.secret_names(),
        attempt: manifest.attempt,
        built_at: snapshot.created_at.unwrap_or(manifest.finished_at),
        size_gb: snapshot.size,
        cold_start_milliseconds: Some(milliseconds(cold_start)),
    }
}

fn revoked() -> Failure {
    let text = "an operator withdrew what was being built (harvestctl prebuilds revoke); it is built anew";
    Failure::new(FailureKind::PromoteRevoked, text)
}

/// The promotion that follows this state: the newest `keep` prebuilds, and the last complete one whatever its age.
fn promotion(state: &TargetState, promoted: PrebuildRecord, keep: u32) -> Promotion {
    let before: Vec<&PrebuildRecord> = state.prebuilds().filter(|kept| kept.name != promoted.name).collect();
    let room = usize::try_from(keep.max(1)).unwrap_or(usize::MAX) - 1;
    let has_complete = promoted.completeness == Completeness::Complete
        || before.iter().take(room).any(|kept| kept.completeness == Completeness::Complete);
    let last_complete = if has_complete {
        None
    } else {
        before.iter().skip(room).find(|kept| kept.completeness == Completeness::Complete)
    };
    let kept = before.iter().take(room).chain(last_complete).map(|&kept| kept.clone()).collect();
    Promotion { follows: state.promotion, promoted, kept, newest: None }
}

/// What is no longer kept, and older than the promoted one: never what another attempt is making.
fn is_superfluous<Id: Ord>(attempt: &Id, promoted: &Id, is_kept: bool) -> bool {
    !is_kept && attempt < promoted
}

/// Which snapshots the register no longer keeps, and nobody uses.
fn select_superfluous<'a>(
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
        .filter(|snapshot| {
            // Ours by its whole name.
            snapshot.name.parse::<PrebuildName>().is_ok_and(|prebuild| {
                let is_kept = kept.contains(&snapshot.name);
                prebuild.sandbox() == name && is_superfluous(&prebuild.attempt(), &promoted.attempt, is_kept)
            })
        })
        .filter(|snapshot| snapshot.last_used_at.is_none_or(|used| now - used >= in_use_for))
        .collect()
}

#[cfg(test)]
mod tests;
