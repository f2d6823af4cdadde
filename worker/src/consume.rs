//! One slot: take a job, bring it to its end, take the next. A slot ends when the worker drains.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use broker::{Delivery, Slot};
use chrono::Utc;
use daytona::Client;
use futures::FutureExt;
use job::{
    DeadLetterReason, DeadLetterRecord, Failure, FailureKind, FleetName, Job, JobDecodeError, Outcome,
    Reason, RetryPolicy, Tick,
};
use telemetry::opentelemetry::KeyValue;
use telemetry::{Interval, IntervalEnd};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::attempt::Attempt;
use crate::ledger_writer::LedgerWriter;
use crate::metrics::Instruments;
use crate::process::Pipeline;
use crate::settle::Settler;
use crate::target_register::TargetRegister;

/// What every slot of a worker needs to bring a job to its end.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) worker: String,
    pub(crate) fleet: FleetName,
    pub(crate) client: Client,
    pub(crate) policy: RetryPolicy,
    pub(crate) register: TargetRegister,
    pub(crate) ledger: LedgerWriter,
    pub(crate) metrics: Instruments,
    pub(crate) pipeline: Pipeline,
    pub(crate) settler: Settler,
}

impl Consumer {
    /// Takes jobs until `draining`; an attempt that is under way when `leaving` is cancelled is handed back.
    pub(crate) async fn run_slot(
        self: Arc<Self>,
        number: usize,
        mut slot: Slot,
        draining: CancellationToken,
        leaving: CancellationToken,
    ) {
        while let Some(delivery) = self.next(&mut slot, &draining).await {
            self.metrics.take_slot();
            self.handle(number, delivery, &leaving).await;
            self.metrics.free_slot();
        }
    }

    /// The next job, taken only while Daytona takes the key: without it none comes to a good end, and others may have a good one.
    async fn next(&self, slot: &mut Slot, draining: &CancellationToken) -> Option<Delivery> {
        let key = self.client.key();
        let mut refused = key.watch();
        loop {
            tokio::select! {
                () = draining.cancelled() => return None,
                () = key.wait_until_accepted() => {}
            }
            tokio::select! {
                // Checked first, so that a slot that has just been freed does not take one more.
                biased;
                _ = refused.wait_for(|refused| *refused) => {}
                taken = slot.take(draining) => return taken,
            }
        }
    }

    async fn handle(&self, slot: usize, delivery: Delivery, leaving: &CancellationToken) {
        let envelope = delivery.message().envelope.clone();
        let job = match delivery.job(&self.fleet) {
            Ok(job) => job,
            Err(error) => return refuse(&self.worker, delivery, &error).await,
        };
        let span = process_span(slot, &delivery, &job, envelope.attempt);
        let parent = telemetry::set_parent(&span, &envelope.trace);
        tracing::trace!(?parent, "attempt joins the trace of its job");
        telemetry::add_link(&span, &envelope.trace);
        if let Some(previous) = &envelope.previous_attempt_trace {
            telemetry::add_link(&span, &[("traceparent".to_owned(), previous.clone())].into());
        }
        let waited = queue_wait(&self.metrics, &envelope);
        let (id, max_attempts) = (self.register.begin_attempt(&job.target), self.policy.max_attempts);
        let attempt = Attempt::new(id, job, envelope, &self.worker, max_attempts, self.ledger.clone());
        attempt.hold_back(attempt.envelope.trace.clone(), waited);
        span.record("attempt.id", tracing::field::display(attempt.id));
        async {
            let began = Instant::now();
            let outcome = self.run_attempt(&delivery, &attempt, leaving).await;
            self.settler.settle(delivery, &attempt, &outcome, began.elapsed()).await;
        }
        .instrument(span)
        .await;
    }

    async fn run_attempt(
        &self,
        delivery: &Delivery,
        attempt: &Attempt,
        leaving: &CancellationToken,
    ) -> Outcome {
        if is_superseded(attempt, self.register.last_tick()) {
            return Outcome::Superseded;
        }
        let deliveries = delivery.message().delivery_count;
        if deliveries >= self.policy.max_crashes {
            return Outcome::Failed(Failure::new(
                FailureKind::WorkerCrashed,
                format!(
                    "the job was delivered {} times and no worker lived to end it; look for killed workers at those times",
                    deliveries.saturating_add(1)
                ),
            ));
        }
        // Boxed where it begins, so that a slot which waits for a job is not as large as the deepest of its stages.
        catch_panic(Box::pin(self.pipeline.process(attempt, leaving))).await
    }
}

/// A panic of ours fails the attempt, not the worker.
async fn catch_panic(processing: impl Future<Output = Outcome>) -> Outcome {
    let processed = AssertUnwindSafe(processing).catch_unwind().await;
    processed.unwrap_or_else(|_panic| {
        tracing::error!("an attempt panicked; the panic's own line stands above");
        Outcome::Failed(Failure::new(
            FailureKind::Internal,
            "an attempt panicked; this is a bug, the worker's log has the place",
        ))
    })
}

/// Only a job on its first try is skipped for a later tick: one that was retried or handed back has work behind it.
fn is_superseded(attempt: &Attempt, last_tick: Option<Tick>) -> bool {
    let Reason::Scheduled { tick } = attempt.job.reason else { return false };
    let untouched = attempt.number == 1
        && attempt.envelope.handed_back == 0
        && attempt.envelope.replay.is_none()
        && attempt.envelope.history.is_empty();
    untouched && last_tick.is_some_and(|last| last > tick)
}

/// Dead-letters what is no job, with its bytes as they are.
async fn refuse(worker: &str, delivery: Delivery, error: &JobDecodeError) {
    let record = DeadLetterRecord {
        reason: DeadLetterReason::Undecodable,
        at: Utc::now(),
        worker: worker.to_owned(),
        job: None,
        target: None,
        failure: None,
        decode_error: Some(error_chain::line(error)),
        cut: None,
        queue: delivery.message().queue.as_str().to_owned(),
        trace_id: telemetry::trace_id_of(&delivery.message().envelope.trace),
    };
    tracing::warn!(
        queue = record.queue,
        bytes = delivery.message().body.len(),
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

/// How long the message waited, counted and as a span.
fn queue_wait(metrics: &Instruments, envelope: &job::Envelope) -> Interval {
    let now = Utc::now();
    metrics.record_queue_wait((now - envelope.enqueued).to_std().unwrap_or_default());
    let name = if envelope.history.is_empty() { "queue wait" } else { "retry wait" };
    let attributes = vec![KeyValue::new("attempt", i64::from(envelope.attempt))];
    Interval { name: name.into(), start: envelope.enqueued, end: now, ended: IntervalEnd::Passed, attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_the_attempt_and_not_the_worker() {
        let outcome = catch_panic(async { panic!("a bug, on purpose") }).await;
        assert_eq!(outcome.failure().map(|failure| failure.id), Some(FailureKind::Internal));
        assert_eq!(catch_panic(async { Outcome::Paused }).await, Outcome::Paused);
    }
}
