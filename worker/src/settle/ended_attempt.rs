//! An attempt that has ended, and what follows from it for the register, for the next attempt and for whoever reads its
//! dead letter. Pure: the clock and the trace were read when it ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{
    AttemptSummary, Blame, Concern, DeadLetterReason, DeadLetterRecord, Decision, Envelope, Failure,
    FailureKind, LastAttempt, LostSandbox, NextAttempt, OpenDeadLetter, Outcome, OutcomeWord, Stage,
    StandingFailure, Tail, TargetState,
};

use crate::attempt::{Attempt, AttemptFacts, milliseconds};

/// What is done with a job that ends in a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeadLetterUse {
    /// It goes to the dead-letter queue, where an operator finds it.
    Queue,
    /// One with this failure of this target lies there already: this one is counted.
    Count,
}

/// An attempt, its outcome, what was decided of it, and when.
pub(super) struct EndedAttempt<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) outcome: &'a Outcome,
    pub(super) decision: Decision,
    /// What the attempt found out, and the outcome's failure.
    pub(super) facts: AttemptFacts,
    /// From the delivery to the end of its last stage.
    pub(super) took: Duration,
    pub(super) at: DateTime<Utc>,
    pub(super) trace_id: Option<String>,
    /// The attempt's own span, for the next attempt to link to.
    pub(super) traceparent: Option<String>,
}

impl EndedAttempt<'_> {
    /// Whether another dead letter is needed.
    pub(super) fn dead_letter_use(&self, state: Option<&TargetState>) -> DeadLetterUse {
        let Decision::DeadLetter(failure) = &self.decision else { return DeadLetterUse::Queue };
        let lies_there = state.is_some_and(|state| state.open_dead_letters.contains_key(&failure.id));
        if lies_there { DeadLetterUse::Count } else { DeadLetterUse::Queue }
    }

    /// What the register is told, in this order; nothing when nothing worth writing changed. The attempt's end comes last: who
    /// sees it has seen the rest.
    pub(super) fn notes(&self, state: Option<&TargetState>) -> Vec<Concern> {
        let word = self.outcome.word();
        let failing = state.and_then(|state| state.failing.as_ref());
        let has_letters = state.is_some_and(|state| !state.open_dead_letters.is_empty());
        let closes = word.is_success() && (failing.is_some() || has_letters);
        if (word.is_no_op() && !closes) || matches!(word, OutcomeWord::Interrupted | OutcomeWord::LeaseLost) {
            return Vec::new();
        }
        let mut notes = Vec::new();
        if word.is_success() {
            notes.extend(failing.map(|_| Concern::StandingFailure(None)));
            notes.extend(has_letters.then_some(Concern::DeadLettersClosed));
            let lost = state.and_then(|state| state.lost_sandbox.as_ref());
            notes.extend(lost.map(|_| Concern::LostSandbox(None)));
        }
        notes.extend(self.lost_sandbox().map(|lost| Concern::LostSandbox(Some(lost))));
        if let Decision::DeadLetter(failure) = &self.decision {
            let known = state.and_then(|state| state.open_dead_letters.get(&failure.id));
            let open = Some(self.open_dead_letter(known));
            notes.push(Concern::DeadLetter { failure: failure.id, open });
            if failure.blame() == Blame::Repository {
                let standing = self.standing_failure(failing, failure);
                notes.extend(standing.map(|standing| Concern::StandingFailure(Some(Box::new(standing)))));
            }
        }
        if !word.is_no_op() {
            notes.push(Concern::Attempt(Box::new(self.last_attempt())));
        }
        notes
    }

    fn lost_sandbox(&self) -> Option<LostSandbox> {
        let failure = self.facts.failure.as_ref().filter(|failure| failure.stage >= Stage::Install)?;
        let lost = matches!(failure.id, FailureKind::SandboxLost | FailureKind::SandboxLostAgain);
        let (commit, fingerprint) = (self.facts.commit.clone()?, self.facts.fingerprint.clone()?);
        lost.then_some(LostSandbox { commit, fingerprint, at: self.at })
    }

    fn open_dead_letter(&self, known: Option<&OpenDeadLetter>) -> OpenDeadLetter {
        OpenDeadLetter {
            job: known.map_or(self.attempt.job.id, |known| known.job),
            count: known.map_or(0, |known| known.count) + 1,
            first: known.map_or(self.at, |known| known.first),
            last: self.at,
        }
    }

    /// None where its inputs are not known: it stands until they change.
    fn standing_failure(
        &self,
        known: Option<&StandingFailure>,
        failure: &Failure,
    ) -> Option<StandingFailure> {
        let fingerprint = self.facts.fingerprint.clone()?;
        let same = known.filter(|standing| {
            standing.failure.id == failure.id
                && standing.commit == self.facts.commit
                && standing.fingerprint == fingerprint
        });
        Some(StandingFailure {
            failure: without_log(failure),
            commit: self.facts.commit.clone(),
            fingerprint,
            secrets: self.facts.secrets.clone(),
            since: same.map_or(self.at, |standing| standing.since),
            count: same.map_or(0, |standing| standing.count) + 1,
        })
    }

    fn last_attempt(&self) -> LastAttempt {
        LastAttempt {
            job: self.attempt.job.id,
            attempt: self.attempt.id,
            number: self.attempt.number,
            outcome: self.outcome.word(),
            failure: self.facts.failure.as_ref().map(without_log),
            commit: self.facts.commit.clone(),
            at: self.at,
            milliseconds: milliseconds(self.took),
            trace_id: self.trace_id.clone(),
        }
    }

    /// The envelope of the next try. The job's own trace stays, so that attempts are siblings in it.
    pub(super) fn next_envelope(&self, next: NextAttempt) -> Envelope {
        let sent = &self.attempt.envelope;
        let failure = self.facts.failure.as_ref();
        let summary = AttemptSummary {
            number: self.attempt.number,
            attempt: self.attempt.id,
            ended_at: self.at,
            outcome: self.outcome.word(),
            failure: failure.map(|failure| failure.id),
            stage: failure.map(|failure| failure.stage),
            worker: self.attempt.worker.clone(),
        };
        let number = match next {
            NextAttempt::Counted => self.attempt.number.saturating_add(1),
            NextAttempt::Free => self.attempt.number,
        };
        Envelope {
            attempt: number,
            enqueued: self.at,
            last_error: failure.map(ToString::to_string).or(sent.last_error.clone()),
            leases_seen: self.facts.leases_seen.clone(),
            previous_attempt_trace: self.traceparent.clone(),
            ..sent.clone().remember(summary)
        }
    }

    /// The envelope of the same try, for another worker.
    pub(super) fn handed_back_envelope(&self) -> Envelope {
        let sent = &self.attempt.envelope;
        Envelope { handed_back: sent.handed_back.saturating_add(1), enqueued: self.at, ..sent.clone() }
    }

    /// What an operator asks first of a dead letter.
    pub(super) fn dead_letter_record(&self, failure: &Failure, queue: &str) -> DeadLetterRecord {
        DeadLetterRecord {
            reason: DeadLetterReason::Failed,
            at: self.at,
            worker: self.attempt.worker.clone(),
            job: Some(self.attempt.job.id),
            target: Some(self.attempt.job.target.clone()),
            failure: Some(Failure {
                log_tail: failure.log_tail.last_bytes(Tail::HEADER_BYTES),
                ..failure.clone()
            }),
            decode_error: None,
            cut: None,
            queue: queue.to_owned(),
            trace_id: self.trace_id.clone(),
        }
    }
}

/// The register is read whole by every process: logs stay in the ledger.
fn without_log(failure: &Failure) -> Failure {
    Failure { log_tail: Tail::default(), ..failure.clone() }
}

#[cfg(test)]
mod tests;
