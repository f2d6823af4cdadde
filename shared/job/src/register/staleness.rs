//! Why a target's prebuild is not what sessions should be given, as far as the register tells. Pure.
//!
//! How old a prebuild is says nothing: a repository that nobody pushes to keeps its own for ever.

use chrono::{DateTime, Utc};

use super::TargetState;
use crate::OutcomeWord;

/// Why a prebuild is stale. The most lasting reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum StaleReason {
    /// An operator has paused it.
    Paused,
    /// A failure stands until the commit, the settings or a secret changes.
    StandingFailure,
    /// A dead letter waits for an operator.
    DeadLetter,
    /// An operator withdrew what sessions were given, and it is not built anew yet.
    Withdrawn,
    /// There was no room for another prebuild, or no sandbox for its build.
    NoRoom,
    /// The last attempt failed, and another follows.
    FailedAttempt,
    /// Daytona has put it to sleep, and it is not built anew yet. Only Daytona tells, so [`StaleReason::of`] never does.
    Asleep,
    /// It was never built.
    NeverBuilt,
}

impl StaleReason {
    /// The reason, where there is one.
    pub fn of(state: &TargetState, now: DateTime<Utc>) -> Option<Self> {
        if state.pause_at(now).is_some() {
            return Some(Self::Paused);
        }
        if state.failing.is_some() {
            return Some(Self::StandingFailure);
        }
        if !state.open_dead_letters.is_empty() {
            return Some(Self::DeadLetter);
        }
        if state.promoted.is_none() && !state.revocations.is_empty() {
            return Some(Self::Withdrawn);
        }
        match state.last.as_ref().map(|last| last.outcome) {
            Some(OutcomeWord::OverQuota) => Some(Self::NoRoom),
            Some(OutcomeWord::Failed) => Some(Self::FailedAttempt),
            Some(
                OutcomeWord::Built
                | OutcomeWord::Partial
                | OutcomeWord::Unchanged
                | OutcomeWord::StillFailing
                | OutcomeWord::Superseded
                | OutcomeWord::Busy
                | OutcomeWord::Cancelled
                | OutcomeWord::Paused
                | OutcomeWord::Interrupted
                | OutcomeWord::LeaseLost,
            )
            | None => state.promoted.is_none().then_some(Self::NeverBuilt),
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        AttemptId, Failure, FailureKind, Fingerprint, JobId, LastAttempt, OpenDeadLetter, Pause,
        PrebuildRecord, Revocation, Revoked, StandingFailure,
    };

    fn last(outcome: OutcomeWord) -> LastAttempt {
        LastAttempt {
            job: JobId::on_demand(),
            attempt: AttemptId::new(),
            number: 1,
            outcome,
            failure: None,
            commit: None,
            at: DateTime::UNIX_EPOCH,
            milliseconds: 1,
            trace_id: None,
        }
    }

    #[test]
    fn the_most_lasting_reason_counts() {
        let now = Utc::now();
        let mut state = TargetState::new("acme/service@main".parse().unwrap(), now);
        let reason = |state: &TargetState| StaleReason::of(state, now).map(StaleReason::as_str);
        assert_eq!(reason(&state), Some("never_built"));
        state.last = Some(last(OutcomeWord::Failed));
        assert_eq!(reason(&state), Some("failed_attempt"));
        state.last = Some(last(OutcomeWord::OverQuota));
        assert_eq!(reason(&state), Some("no_room"));
        state.last = Some(last(OutcomeWord::Built));
        state.promoted = Some(PrebuildRecord::example());
        assert_eq!(reason(&state), None);
        state.last = Some(last(OutcomeWord::Failed));
        assert_eq!(reason(&state), Some("failed_attempt"), "what there is may be of an older commit");
        state.promoted = None;
        state.revocations = vec![Revocation { of: Revoked::BuiltSince(now), until: now }];
        assert_eq!(reason(&state), Some("withdrawn"));
        let letter = OpenDeadLetter { job: JobId::on_demand(), count: 1, first: now, last: now };
        state.open_dead_letters = BTreeMap::from([(FailureKind::BuildFailed, letter)]);
        assert_eq!(reason(&state), Some("dead_letter"));
        state.failing = Some(StandingFailure {
            failure: Failure::new(FailureKind::BuildFailed, "it failed"),
            commit: None,
            fingerprint: Fingerprint::from_hex(&"9".repeat(64)).unwrap(),
            secrets: None,
            since: now,
            count: 1,
        });
        assert_eq!(reason(&state), Some("standing_failure"));
        let (why, by) = ("its registry moves".to_owned(), "anna".to_owned());
        let until = Some(now + chrono::TimeDelta::hours(1));
        state.pause = Some(Pause { reason: why, by, since: now, until });
        assert_eq!(reason(&state), Some("paused"));
        assert_eq!(
            StaleReason::of(&state, now + chrono::TimeDelta::hours(1)),
            Some(StaleReason::StandingFailure),
            "it has ended by itself"
        );
    }
}
