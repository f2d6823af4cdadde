//! One slot: take a job, bring it to its end, take the next. A slot ends when the worker drains.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use broker::{Delivery, Slot};
use chrono::Utc;
use futures::FutureExt;
use job::{DeadLetterReason, DeadLetterRecord, Failure, FailureKind, Job, JobDecodeError, Outcome, Reason};
use telemetry::opentelemetry::KeyValue;
use telemetry::{Interval, IntervalEnd};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::attempt::Attempt;
use crate::parts::Parts;
use crate::process::process;
use crate::settle::settle;

/// Takes jobs until `draining`; an attempt that is under way when `leaving` is cancelled is handed back.
pub(crate) async fn run(
    parts: Arc<Parts>,
    number: usize,
    mut slot: Slot,
    draining: CancellationToken,
    leaving: CancellationToken,
) {
    while let Some(delivery) = slot.take(&draining).await {
        parts.metrics.slot_taken();
        Box::pin(handle(&parts, number, delivery, &leaving)).await;
        parts.metrics.slot_freed();
    }
}

async fn handle(parts: &Parts, slot: usize, delivery: Delivery, leaving: &CancellationToken) {
    let envelope = delivery.message().envelope.clone();
    let job = match delivery.job(&parts.fleet) {
        Ok(job) => job,
        Err(error) => return refuse(parts, delivery, &error).await,
    };
    let span = process_span(slot, &delivery, &job, envelope.attempt);
    let parent = telemetry::set_parent(&span, &envelope.trace);
    tracing::trace!(?parent, "attempt joins the trace of its job");
    telemetry::add_link(&span, &envelope.trace);
    if let Some(previous) = &envelope.previous_attempt_trace {
        telemetry::add_link(&span, &[("traceparent".to_owned(), previous.clone())].into());
    }
    let waited = waited(parts, &envelope);
    let attempt = Attempt::new(job, envelope, &parts.worker, parts.policy.max_attempts, parts.story.clone());
    attempt.hold_back(attempt.envelope.trace.clone(), waited);
    span.record("attempt.id", tracing::field::display(attempt.id));
    async {
        let began = Instant::now();
        let outcome = Box::pin(run_attempt(parts, &delivery, &attempt, leaving)).await;
        settle(parts, delivery, &attempt, &outcome, began.elapsed()).await;
    }
    .instrument(span)
    .await;
}

async fn run_attempt(
    parts: &Parts,
    delivery: &Delivery,
    attempt: &Attempt,
    leaving: &CancellationToken,
) -> Outcome {
    if is_superseded(parts, attempt) {
        return Outcome::Superseded;
    }
    let deliveries = delivery.message().delivery_count;
    if deliveries >= parts.policy.max_crashes {
        return Outcome::Failed(Failure::new(
            FailureKind::WorkerCrashed,
            format!(
                "the job was delivered {} times and no worker lived to end it; look for killed workers at those times",
                deliveries + 1
            ),
        ));
    }
    guarded(process(parts, attempt, leaving)).await
}

/// A panic of ours fails the attempt, not the worker.
async fn guarded(processing: impl Future<Output = Outcome>) -> Outcome {
    let processed = AssertUnwindSafe(Box::pin(processing)).catch_unwind().await;
    processed.unwrap_or_else(|_panic| {
        tracing::error!("an attempt panicked; the panic's own line stands above");
        Outcome::Failed(Failure::new(
            FailureKind::Internal,
            "an attempt panicked; this is a bug, the worker's log has the place",
        ))
    })
}

/// Only a job on its first try is skipped for a later tick: one that was retried or handed back has work behind it.
fn is_superseded(parts: &Parts, attempt: &Attempt) -> bool {
    let Reason::Scheduled { tick } = attempt.job.reason else { return false };
    let untouched = attempt.number == 1
        && attempt.envelope.handed_back == 0
        && attempt.envelope.replay.is_none()
        && attempt.envelope.history.is_empty();
    untouched && parts.register.fleet().last_tick.is_some_and(|last| last > tick)
}

async fn refuse(parts: &Parts, delivery: Delivery, error: &JobDecodeError) {
    let record = DeadLetterRecord {
        reason: DeadLetterReason::Undecodable,
        at: Utc::now(),
        worker: parts.worker.clone(),
        job: None,
        target: None,
        failure: None,
        decode_error: Some(error_chain::line(error)),
        queue: delivery.message().queue.as_str().to_owned(),
        trace_id: telemetry::trace_id_of(&delivery.message().envelope.trace),
    };
    tracing::warn!(
        queue = record.queue,
        error = error_chain::line(error),
        "message dead-lettered: it is no job"
    );
    let settled = delivery.dead_letter(record).await;
    tracing::debug!(?settled, "undecodable message settled");
}

/// A root of its own where the message carries no trace, whatever span this runs in: a slot outlives its jobs.
fn process_span(slot: usize, delivery: &Delivery, job: &Job, number: u32) -> Span {
    use tracing::field::Empty;
    let queue = delivery.message().queue.as_str();
    tracing::info_span!(
        parent: None,
        "process",
        slot,
        otel.name = format!("process {queue}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "rabbitmq",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = queue,
        messaging.message.id = %job.id,
        job.id = %job.id,
        job.reason = job.reason.as_str(),
        attempt = number,
        attempt.id = Empty,
        target = %job.target,
        vcs.owner.name = job.target.owner(),
        vcs.repository.name = job.target.name(),
        // As a browser takes it.
        vcs.repository.url.full = job.settings.clone.url.trim_end_matches(".git"),
        vcs.ref.head.name = job.target.branch(),
        vcs.ref.head.revision = Empty,
        outcome = Empty,
        cicd.pipeline.result = Empty,
        error.r#type = Empty,
    )
}

/// How long the message waited.
fn waited(parts: &Parts, envelope: &job::Envelope) -> Interval {
    let now = Utc::now();
    parts.metrics.waited((now - envelope.enqueued).to_std().unwrap_or_default());
    let name = if envelope.history.is_empty() { "queue wait" } else { "retry wait" };
    let attributes = vec![KeyValue::new("attempt", i64::from(envelope.attempt))];
    Interval { name: name.into(), start: envelope.enqueued, end: now, ended: IntervalEnd::Passed, attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_the_attempt_and_not_the_worker() {
        let outcome = guarded(async { panic!("a bug, on purpose") }).await;
        assert_eq!(outcome.failure().map(|failure| failure.id), Some(FailureKind::Internal));
        assert_eq!(guarded(async { Outcome::Paused }).await, Outcome::Paused);
    }
}
