//! The register points at the new prebuild, and says which ones are kept beside it: the keeper collects the others.

use std::sync::Arc;

use chrono::Utc;
use daytona::Snapshot;
use job::{
    Completeness, EntryVersion, Failure, FailureKind, Folded, Manifest, Outcome, PrebuildName,
    PrebuildRecord, Promotion, TargetState,
};

use crate::attempt::{Attempt, milliseconds};
use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::target_register::TargetRegister;

/// Points the register at prebuilds.
#[derive(Debug)]
pub(crate) struct Promoter {
    pub(crate) register: TargetRegister,
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
    ) -> Result<(), EarlyEnd> {
        let target = &attempt.job.target;
        let state = self.register.get(target);
        let state = state.unwrap_or_else(|| Arc::new(TargetState::new(target.clone(), Utc::now())));
        if is_withdrawn(&state, prebuild) {
            return Err(revoked().into());
        }
        if state.promotion != follows {
            return Err(ResolveAgain::PromotedMeanwhile.into());
        }
        let promotion = promotion(&state, prebuild.clone(), attempt.job.settings.keep);
        match self.register.promote(target, promotion).await? {
            Folded::Taken => {
                let state = self.register.get(target).unwrap_or(state);
                if is_withdrawn(&state, prebuild) { Err(revoked().into()) } else { Ok(()) }
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
        added_bytes: manifest.added_bytes,
        cold_start_milliseconds: Some(milliseconds(cold_start)),
    }
}

/// Whether it may not be given. Of a captured one the keeper knows nothing but the name, and deletes it where a revocation may be
/// about it: so what is not given yet is judged by its name as well.
fn is_withdrawn(state: &TargetState, prebuild: &PrebuildRecord) -> bool {
    let was_given = state.promotion_gives(&prebuild.name);
    state.is_revoked(prebuild.into()) || (!was_given && state.is_revoked((&prebuild.name).into()))
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
    Promotion { follows: state.promotion, promoted, kept, newest: None, at: Some(Utc::now()) }
}

#[cfg(test)]
mod tests;
