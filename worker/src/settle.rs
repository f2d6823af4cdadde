//! The one place where a delivery ends: decide, perform, remember, tell.
//!
//! The message goes where it must first (confirmed before it is acknowledged), and only then do register and ledger
//! learn of it: a worker that dies in between causes a repetition, never a loss.

mod aftermath;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use broker::{Delivery, Settled};
use chrono::Utc;
use job::{
    AttemptSummary, DeadLetterReason, DeadLetterRecord, Decision, DeliveryFacts, Envelope, Failure,
    NextAttempt, Outcome, RegisterEntry, Tail, decide,
};
use tracing::Span;

use crate::attempt::{Attempt, Found};
use crate::parts::Parts;
use aftermath::{Aftermath, DeadLetterUse};
use telling::tell;

/// An attempt that has ended, and what follows from how it did.
struct Ending<'a> {
    attempt: &'a Attempt,
    outcome: &'a Outcome,
    decision: &'a Decision,
    found: &'a Found,
    took: Duration,
}

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
    let ending = Ending { attempt, outcome, decision: &decision, found: &found, took };
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
    let settled = perform(parts, delivery, &ending, dead_letter_use).await;
    if settled == Settled::Done {
        remember(parts, &aftermath).await;
    }
    tell(parts, &ending, settled);
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
    ending: &Ending<'_>,
    dead_letter_use: DeadLetterUse,
) -> Settled {
    let sent = &ending.attempt.envelope;
    let now = Utc::now();
    match ending.decision {
        Decision::Ack => delivery.ack().await,
        Decision::RetryAfter { delay, next } => {
            let envelope = next_envelope(ending, *next);
            delivery.retry_after(*delay, Envelope { enqueued: now, ..envelope }).await
        }
        Decision::HandBack => {
            let handed_back = sent.handed_back + 1;
            delivery.hand_back(Envelope { handed_back, enqueued: now, ..sent.clone() }).await
        }
        Decision::DeadLetter(failure) => match dead_letter_use {
            DeadLetterUse::Queue => {
                let record = dead_letter_record(parts, &delivery, ending.attempt, failure);
                delivery.dead_letter(record).await
            }
            DeadLetterUse::Count => delivery.ack().await,
        },
        Decision::Drop => {
            delivery.drop_lost();
            Settled::Lost
        }
    }
}

/// What an operator asks first of a dead letter.
fn dead_letter_record(
    parts: &Parts,
    delivery: &Delivery,
    attempt: &Attempt,
    failure: &Failure,
) -> DeadLetterRecord {
    DeadLetterRecord {
        reason: DeadLetterReason::Failed,
        at: Utc::now(),
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
    }
}

/// The envelope of the next try. The job's own trace stays, so that attempts are siblings in it.
fn next_envelope(ending: &Ending<'_>, next: NextAttempt) -> Envelope {
    let Ending { attempt, outcome, found, .. } = ending;
    let envelope = attempt.envelope.clone();
    let failure = found.failure.as_ref();
    let note = AttemptSummary {
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
