//! The span that a job's trace begins with: made where the job is published, whichever program does it, so that all jobs
//! are found by the same attributes.
//!
//! What continues the trace, or is linked to it, is the caller's: the context travels in the envelope.

use std::error::Error;

use job::Job;
use tracing::Span;
use tracing::field::Empty;

use crate::WorkQueue;

/// The PRODUCER span of one job. It lasts until the job is confirmed or given up, which is when its last clone is dropped.
#[derive(Debug, Clone)]
pub struct PublishSpan(Span);

impl PublishSpan {
    /// A span without a parent: a trace of its own, until it is given another.
    pub fn new(job: &Job, queue: WorkQueue) -> Self {
        let queue = queue.as_str();
        Self(tracing::info_span!(
            parent: None,
            "publish",
            otel.name = format!("publish {queue}"),
            otel.kind = "producer",
            otel.status_code = Empty,
            error.r#type = Empty,
            messaging.system = "rabbitmq",
            messaging.operation.name = "publish",
            messaging.operation.r#type = "send",
            messaging.destination.name = queue,
            messaging.message.id = %job.id,
            job.id = %job.id,
            job.reason = job.reason.as_str(),
            target = %job.target,
            vcs.repository.name = job.target.name(),
            vcs.ref.head.name = job.target.branch(),
        ))
    }

    /// The span itself, to be entered, linked or carried.
    pub fn span(&self) -> &Span {
        &self.0
    }

    /// Records that the job was not published, and what it met.
    pub fn record_error(&self, error: &(dyn Error + 'static)) {
        self.0.record("otel.status_code", "ERROR");
        self.0.record("error.type", error_chain::line(error));
    }
}
