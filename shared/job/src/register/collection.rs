//! Which snapshots of a target may be deleted, by the register alone: whoever deletes needs no lease, nor to know that nobody else
//! does.
//!
//! Invariant: what is superfluous once can never be promoted any more. Beside what is given already, the fold takes a promotion
//! only of an attempt newer than every one that was ever promoted, and none that began long ago; so what is older stays out.

use chrono::{DateTime, Duration, Utc};

use super::TargetState;
use crate::{AttemptId, PrebuildName, PrebuildRecord};

/// What was begun so long ago is not promoted any more. No attempt lives so long: its sandbox does not (`[sandboxes] ttl`, 4 h).
const PROMOTED_WITHIN: Duration = Duration::hours(24);
/// What was begun so long ago, and is not given, is nobody's. Clocks may differ by a day.
const OVER: Duration = Duration::hours(48);

/// Whether an attempt's prebuild, which is not given yet, may have been collected by now.
pub(super) fn is_overtaken(
    attempt: AttemptId,
    newest_promoted: Option<AttemptId>,
    now: DateTime<Utc>,
) -> bool {
    Some(attempt) < newest_promoted || now - attempt.time() >= PROMOTED_WITHIN
}

/// What Daytona says of a snapshot, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotCondition {
    /// Sandboxes can be started from it.
    Whole,
    /// Daytona has put it to sleep: nothing starts from it, and nothing wakes it.
    Asleep,
    /// It failed for good.
    Failed,
    /// It is on its way to another state.
    Pending,
}

/// Why a snapshot may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Superfluous {
    /// It was withdrawn, and is given to nobody.
    Withdrawn,
    /// It is no longer kept, or its attempt did not come to promote it.
    Old,
    /// Its capture failed, or did not end.
    HalfMade,
    /// It is kept and sleeps, so it could be given to nobody.
    Asleep,
}

impl TargetState {
    /// Why the snapshot of this prebuild may be deleted, if it may. Nothing is while no promotion is known: the register may have
    /// been lost.
    pub fn superfluous(
        &self,
        name: &PrebuildName,
        condition: SnapshotCondition,
        now: DateTime<Utc>,
    ) -> Option<Superfluous> {
        self.promotion?;
        let is_this = |prebuild: &PrebuildRecord| prebuild.name == *name;
        if self.promoted.iter().any(is_this) {
            return None;
        }
        if self.kept.iter().any(is_this) {
            // Whoever promotes a kept one again asks Daytona first, and a sleeper never wakes.
            return (condition == SnapshotCondition::Asleep).then_some(Superfluous::Asleep);
        }
        let attempt = name.attempt();
        let is_over = now - attempt.time() >= OVER;
        let is_older = Some(attempt) < self.newest_promoted;
        let has_ended = is_over || is_older || self.last.as_ref().is_some_and(|last| last.attempt == attempt);
        match condition {
            SnapshotCondition::Whole | SnapshotCondition::Asleep
                if self.is_revoked(name.into()) && !self.is_captured(name) =>
            {
                Some(Superfluous::Withdrawn)
            }
            SnapshotCondition::Whole | SnapshotCondition::Asleep => {
                (is_older || is_over).then_some(Superfluous::Old)
            }
            SnapshotCondition::Failed => has_ended.then_some(Superfluous::HalfMade),
            SnapshotCondition::Pending => is_over.then_some(Superfluous::HalfMade),
        }
    }

    /// Whether it is the captured one, of which is known what it may have been given.
    fn is_captured(&self, name: &PrebuildName) -> bool {
        self.captured.as_ref().is_some_and(|captured| captured.name == *name)
    }
}

#[cfg(test)]
mod tests;
