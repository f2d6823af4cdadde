//! The report of an attempt once its delivery has ended: metrics, one ledger entry, one log line.

use broker::Settled;
use job::{AttemptEnd, Decision, LedgerEvent, NoOp, Outcome, Reason};
use tracing::Span;

use super::ended_attempt::EndedAttempt;
use crate::attempt::milliseconds;
use crate::ledger_writer::LedgerWriter;
use crate::metrics::Instruments;

/// Where the ends of attempts are reported.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) metrics: Instruments,
    pub(crate) ledger: LedgerWriter,
    /// What the ledger says an attempt's number is out of.
    pub(crate) max_attempts: u32,
}

impl Reporter {
    /// Counts, writes the ledger entry, logs the one line.
    pub(super) fn report(&self, ended: &EndedAttempt<'_>, settled: Settled) {
        let EndedAttempt { attempt, outcome, decision, facts, took, .. } = ended;
        self.metrics.count_attempt(outcome, decision, *took);
        for report in &facts.stages {
            self.metrics.record_stage(report.stage, report.milliseconds, &report.result);
            if let Some(bytes) = report.added_bytes {
                self.metrics.record_added(report.stage, bytes);
            }
        }
        let scheduled = matches!(attempt.job.reason, Reason::Scheduled { .. });
        if outcome.word().is_no_op() && scheduled && *decision == Decision::Ack {
            self.ledger.write_no_op(NoOp {
                job: attempt.job.id,
                target: attempt.job.target.clone(),
                outcome: outcome.word(),
            });
        } else {
            self.ledger.write(LedgerEvent::AttemptEnded(Box::new(attempt_end(ended, self.max_attempts))));
        }
        log(ended, settled);
    }
}

fn attempt_end(ended: &EndedAttempt<'_>, max_attempts: u32) -> AttemptEnd {
    let EndedAttempt { attempt, outcome, decision, facts, took, .. } = ended;
    let (retry_milliseconds, next) = match decision {
        Decision::RetryAfter { delay, next } => (Some(milliseconds(*delay)), Some(*next)),
        Decision::Ack | Decision::DeadLetter(_) | Decision::HandBack | Decision::Drop => (None, None),
    };
    AttemptEnd {
        job: attempt.job.id,
        target: attempt.job.target.clone(),
        attempt: attempt.id,
        number: attempt.number,
        max_attempts,
        outcome: outcome.word(),
        decision: word(decision).to_owned(),
        retry_milliseconds,
        next,
        failure: facts.failure.clone(),
        commit: facts.commit.clone(),
        prebuild: outcome.prebuild().map(|prebuild| prebuild.name.clone()),
        stages: facts.stages.clone(),
        milliseconds: milliseconds(*took),
    }
}

fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Ack => "ack",
        Decision::RetryAfter { .. } => "retry",
        Decision::DeadLetter(_) => "dead_letter",
        Decision::HandBack => "hand_back",
        Decision::Drop => "drop",
    }
}

/// The one summary line of an attempt.
fn log(ended: &EndedAttempt<'_>, settled: Settled) {
    let EndedAttempt { outcome, decision, facts, took, .. } = ended;
    let commit = facts.commit.as_ref().map_or("", job::Commit::short);
    let failure = facts.failure.as_ref().map_or("", |failure| failure.id.id());
    let message = facts.failure.as_ref().map_or("", |failure| failure.message.as_str());
    let span = Span::current();
    span.record("outcome", outcome.word().as_str());
    span.record("cicd.pipeline.result", pipeline_result(outcome));
    if let Some(commit) = &facts.commit {
        span.record("vcs.ref.head.revision", commit.as_str());
    }
    match outcome {
        Outcome::Failed(failed) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", failed.id.id());
            tracing::warn!(
                outcome = outcome.word().as_str(),
                decision = word(decision),
                ?settled,
                commit,
                failure,
                took_ms = milliseconds(*took),
                "attempt failed: {message}"
            );
        }
        Outcome::Built(_)
        | Outcome::Partial { .. }
        | Outcome::Unchanged(_)
        | Outcome::OverQuota
        | Outcome::StillFailing(_)
        | Outcome::Superseded
        | Outcome::Busy { .. }
        | Outcome::Cancelled
        | Outcome::Paused
        | Outcome::Interrupted
        | Outcome::LeaseLost => {
            tracing::info!(
                outcome = outcome.word().as_str(),
                decision = word(decision),
                ?settled,
                commit,
                failure,
                took_ms = milliseconds(*took),
                "attempt ended"
            );
        }
    }
}

/// OpenTelemetry's word: `failure` is the build's fault, `error` is the system's.
fn pipeline_result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Built(_) | Outcome::Partial { .. } | Outcome::Unchanged(_) => "success",
        Outcome::Failed(failure) | Outcome::StillFailing(failure) => match failure.blame() {
            job::Blame::Repository => "failure",
            job::Blame::Upstream
            | job::Blame::Capacity
            | job::Blame::Resources
            | job::Blame::Configuration
            | job::Blame::Ours => "error",
        },
        Outcome::Cancelled | Outcome::Interrupted | Outcome::LeaseLost => "cancellation",
        Outcome::OverQuota | Outcome::Superseded | Outcome::Busy { .. } | Outcome::Paused => "skip",
    }
}
