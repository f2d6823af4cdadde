//! What the register says of a target after an attempt. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{
    AttemptId, Blame, Decision, Failure, FailureKind, JobId, LastAttempt, OpenDeadLetter, Outcome,
    OutcomeWord, StandingFailure, Tail, Target, TargetState,
};

use crate::attempt::{Found, milliseconds};

/// What is done with a job that ends in a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeadLetterUse {
    /// It goes to the queue.
    Queue,
    /// One with this failure of this target lies there already: this one is counted.
    Count,
}

/// An ended attempt, and what is known of it.
pub(super) struct Aftermath<'a> {
    pub(super) target: &'a Target,
    pub(super) job: JobId,
    pub(super) attempt: AttemptId,
    pub(super) number: u32,
    pub(super) outcome: &'a Outcome,
    pub(super) decision: &'a Decision,
    pub(super) found: &'a Found,
    pub(super) took: Duration,
    pub(super) trace_id: Option<String>,
    pub(super) now: DateTime<Utc>,
}

impl Aftermath<'_> {
    /// Whether another dead letter is needed.
    pub(super) fn dead_letter_use(&self, state: Option<&TargetState>) -> DeadLetterUse {
        match (self.decision, state) {
            (Decision::DeadLetter(failure), Some(state))
                if state.open_dead_letters.contains_key(&failure.id) =>
            {
                DeadLetterUse::Count
            }
            _ => DeadLetterUse::Queue,
        }
    }

    /// The target's new state; none when nothing worth writing changed.
    pub(super) fn state(&self, state: Option<TargetState>) -> Option<TargetState> {
        let mut state = state.unwrap_or_else(|| TargetState::new(self.target.clone(), self.now));
        let word = self.outcome.word();
        let closes = word.is_success() && (state.failing.is_some() || !state.open_dead_letters.is_empty());
        if (word.is_no_op() && !closes) || matches!(word, OutcomeWord::Interrupted | OutcomeWord::LeaseLost) {
            return None;
        }
        if word.is_success() {
            state.failing = None;
            state.open_dead_letters.clear();
        }
        if let Decision::DeadLetter(failure) = self.decision {
            self.keep_open(&mut state, failure.id);
            if failure.blame() == Blame::Repository {
                self.keep_standing(&mut state, failure);
            }
        }
        if !word.is_no_op() {
            state.last = Some(self.last());
        }
        state.updated_at = self.now;
        Some(state)
    }

    fn keep_open(&self, state: &mut TargetState, id: FailureKind) {
        let open = state.open_dead_letters.entry(id).or_insert_with(|| OpenDeadLetter {
            job: self.job,
            count: 0,
            first: self.now,
            last: self.now,
        });
        open.count += 1;
        open.last = self.now;
    }

    fn keep_standing(&self, state: &mut TargetState, failure: &Failure) {
        let Some(fingerprint) = self.found.fingerprint.clone() else { return };
        let same = state.failing.take().filter(|standing| {
            standing.failure.id == failure.id
                && standing.commit == self.found.commit
                && standing.fingerprint == fingerprint
        });
        state.failing = Some(StandingFailure {
            failure: short(failure),
            commit: self.found.commit.clone(),
            fingerprint,
            since: same.as_ref().map_or(self.now, |standing| standing.since),
            count: same.map_or(0, |standing| standing.count) + 1,
        });
    }

    fn last(&self) -> LastAttempt {
        LastAttempt {
            job: self.job,
            attempt: self.attempt,
            number: self.number,
            outcome: self.outcome.word(),
            failure: self.found.failure.as_ref().map(short),
            commit: self.found.commit.clone(),
            at: self.now,
            milliseconds: milliseconds(self.took),
            trace_id: self.trace_id.clone(),
        }
    }
}

/// The register is read whole by every process: logs stay in the ledger.
fn short(failure: &Failure) -> Failure {
    Failure { log_tail: Tail::default(), ..failure.clone() }
}

#[cfg(test)]
mod tests;
