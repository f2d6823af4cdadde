//! The one place where a delivery ends: decide, perform, remember, tell.
//!
//! The message goes where it must first (confirmed before it is acknowledged), and only then do register and ledger
//! learn of it: a worker that dies in between causes a repetition, never a loss.

mod aftermath;

use std::sync::Arc;
use std::time::Duration;

use broker::{Delivery, Settled};
use chrono::Utc;
use job::{
    AttemptEnd, AttemptNote, DeadLetterReason, DeadLetterStory, Decision, DeliveryFacts, Envelope, Failure,
    LedgerEvent, NextAttempt, NoOp, Outcome, Reason, RegisterEntry, Tail, decide,
};
use tracing::Span;

use crate::attempt::{Attempt, Found, milliseconds};
use crate::parts::Parts;
use aftermath::{Aftermath, DeadLetterUse};

/// Ends the delivery of this attempt.
pub(crate) async fn settle(
    parts: &Parts,
    delivery: Delivery,
    attempt: &Attempt,
    outcome: &Outcome,
    took: Duration,
) {
    let facts = DeliveryFacts {
        attempt: attempt.number,
        job: attempt.job.id,
        reason: attempt.job.reason,
        age: (Utc::now() - attempt.envelope.first_enqueued).to_std().unwrap_or(Duration::ZERO),
        jitter: rand::random(),
    };
    let decision = decide(outcome, &facts, &parts.policy);
    let found = Found { failure: outcome.failure().cloned(), ..attempt.found() };
    let aftermath = Aftermath {
        target: &attempt.job.target,
        job: attempt.job.id,
        attempt: attempt.id,
        number: attempt.number,
        outcome,
        decision: &decision,
        found: &found,
        took,
        trace_id: telemetry::current_trace_id(),
        now: Utc::now(),
    };
    let state = parts.register.get(&attempt.job.target);
    let dead_letter_use = aftermath.dead_letter_use(state.as_deref());
    let settled = perform(parts, delivery, attempt, outcome, &decision, dead_letter_use, &found).await;
    if settled == Settled::Done {
        remember(parts, &aftermath).await;
    }
    tell(parts, attempt, outcome, &decision, settled, &found, took);
}

/// Writes the target's new state. The register is read anew first: this attempt's own promotion must not be undone.
async fn remember(parts: &Parts, aftermath: &Aftermath<'_>) {
    let known = parts.register.get(aftermath.target);
    if aftermath.state(known.map(Arc::unwrap_or_clone)).is_none() {
        return;
    }
    let written = async {
        parts.caught_up().await.map_err(|_| "it could not be read")?;
        let known = parts.register.get(aftermath.target).map(Arc::unwrap_or_clone);
        let Some(state) = aftermath.state(known) else { return Ok(()) };
        parts
            .register
            .put(&RegisterEntry::Target(Box::new(state)))
            .await
            .map_err(|_| "it could not be written")
    };
    if let Err(why) = written.await {
        tracing::warn!(why, "the register does not know of this attempt; the next one tells it");
    }
}

async fn perform(
    parts: &Parts,
    delivery: Delivery,
    attempt: &Attempt,
    outcome: &Outcome,
    decision: &Decision,
    dead_letter_use: DeadLetterUse,
    found: &Found,
) -> Settled {
    let now = Utc::now();
    match decision {
        Decision::Ack => delivery.ack().await,
        Decision::RetryAfter { delay, next } => {
            let envelope = next_envelope(attempt, outcome, *next, found);
            delivery.retry_after(*delay, Envelope { enqueued: now, ..envelope }).await
        }
        Decision::HandBack => {
            let handed_back = attempt.envelope.handed_back + 1;
            delivery.hand_back(Envelope { handed_back, enqueued: now, ..attempt.envelope.clone() }).await
        }
        Decision::DeadLetter(failure) => match dead_letter_use {
            DeadLetterUse::Queue => {
                let story = DeadLetterStory {
                    reason: DeadLetterReason::Failed,
                    at: now,
                    worker: parts.worker.clone(),
                    job: Some(attempt.job.id),
                    target: Some(attempt.job.target.clone()),
                    failure: Some(Failure {
                        log_tail: failure.log_tail.last_bytes(Tail::HEADER_BYTES),
                        ..failure.clone()
                    }),
                    decode_error: None,
                    queue: delivery.message().queue.as_str().to_owned(),
                    trace_id: telemetry::current_trace_id(),
                };
                delivery.dead_letter(story).await
            }
            DeadLetterUse::Count => delivery.ack().await,
        },
        Decision::Drop => {
            delivery.drop_lost();
            Settled::Lost
        }
    }
}

/// The envelope of the next try. The job's own trace stays, so that attempts are siblings in it.
fn next_envelope(attempt: &Attempt, outcome: &Outcome, next: NextAttempt, found: &Found) -> Envelope {
    let envelope = attempt.envelope.clone();
    let failure = found.failure.as_ref();
    let note = AttemptNote {
        number: attempt.number,
        attempt: attempt.id,
        ended_at: Utc::now(),
        outcome: outcome.word(),
        failure: failure.map(|failure| failure.id),
        stage: failure.map(|failure| failure.stage),
        worker: attempt.worker.clone(),
    };
    let number = match next {
        NextAttempt::Counted => attempt.number + 1,
        NextAttempt::Free => attempt.number,
    };
    Envelope {
        attempt: number,
        last_error: failure.map(ToString::to_string).or(envelope.last_error.clone()),
        lease_seen: found.lease_seen.clone(),
        previous_attempt_trace: telemetry::traceparent_of(&Span::current()),
        ..envelope.remember(note)
    }
}

fn tell(
    parts: &Parts,
    attempt: &Attempt,
    outcome: &Outcome,
    decision: &Decision,
    settled: Settled,
    found: &Found,
    took: Duration,
) {
    parts.metrics.ended(outcome, decision, took);
    for report in &found.stages {
        parts.metrics.stage(report.stage, report.milliseconds, &report.result);
    }
    let scheduled = matches!(attempt.job.reason, Reason::Scheduled { .. });
    if outcome.word().is_no_op() && scheduled && *decision == Decision::Ack {
        parts.story.tell_no_op(NoOp {
            job: attempt.job.id,
            target: attempt.job.target.clone(),
            outcome: outcome.word(),
        });
    } else {
        parts
            .story
            .tell(LedgerEvent::AttemptEnded(Box::new(end(parts, attempt, outcome, decision, found, took))));
    }
    log(outcome, decision, settled, found, took);
}

fn end(
    parts: &Parts,
    attempt: &Attempt,
    outcome: &Outcome,
    decision: &Decision,
    found: &Found,
    took: Duration,
) -> AttemptEnd {
    let (retry_milliseconds, next) = match decision {
        Decision::RetryAfter { delay, next } => (Some(milliseconds(*delay)), Some(*next)),
        Decision::Ack | Decision::DeadLetter(_) | Decision::HandBack | Decision::Drop => (None, None),
    };
    AttemptEnd {
        job: attempt.job.id,
        target: attempt.job.target.clone(),
        attempt: attempt.id,
        number: attempt.number,
        max_attempts: parts.policy.max_attempts,
        outcome: outcome.word(),
        decision: word(decision).to_owned(),
        retry_milliseconds,
        next,
        failure: found.failure.clone(),
        commit: found.commit.clone(),
        prebuild: outcome.prebuild().map(|prebuild| prebuild.name.clone()),
        stages: found.stages.clone(),
        milliseconds: milliseconds(took),
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
fn log(outcome: &Outcome, decision: &Decision, settled: Settled, found: &Found, took: Duration) {
    let commit = found.commit.as_ref().map_or("", job::Commit::short);
    let failure = found.failure.as_ref().map_or("", |failure| failure.id.id());
    let message = found.failure.as_ref().map_or("", |failure| failure.message.as_str());
    let span = Span::current();
    span.record("outcome", outcome.word().as_str());
    span.record("cicd.pipeline.result", pipeline_result(outcome));
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
                took_ms = milliseconds(took),
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
                took_ms = milliseconds(took),
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
