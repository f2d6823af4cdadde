//! One attempt while it runs: who it is, what it has found out, how its stages went.
//!
//! A stage ends by itself, or because the worker leaves, or because the lease is another's; nobody waits longer.

mod stage_end;

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use job::{
    AttemptId, Commit, Envelope, Failure, Job, LeaseSeen, LedgerEvent, Outcome, SandboxName, SecretsCheck,
    Stage, StageReport,
};
use telemetry::opentelemetry::KeyValue;
use telemetry::{Carrier, Interval, IntervalEnd};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use self::stage_end::StageEnd;
use crate::early_end::EarlyEnd;
use crate::ledger_writer::LedgerWriter;

/// One attempt: its job, and what it has found out so far.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) number: u32,
    pub(crate) job: Job,
    pub(crate) envelope: Envelope,
    pub(crate) worker: String,
    pub(crate) started_at: DateTime<Utc>,
    max_attempts: u32,
    ledger: LedgerWriter,
    facts: Mutex<AttemptFacts>,
    /// Spans that are recorded only once this attempt does more than resolve; none once it does.
    held_back: Mutex<Option<Vec<(Carrier, Interval)>>>,
}

/// What an attempt found out on its way; read when it is settled, whatever its outcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptFacts {
    pub(crate) commit: Option<Commit>,
    pub(crate) fingerprint: Option<job::Fingerprint>,
    pub(crate) leases_seen: Vec<LeaseSeen>,
    pub(crate) stages: Vec<StageReport>,
    /// What the stage that runs has added to the disk, once it was measured.
    pub(crate) added: Option<(Stage, i64)>,
    /// Set when it failed because of the secrets that it was given.
    pub(crate) secrets: Option<SecretsCheck>,
    /// Set once the attempt has ended, together with how.
    pub(crate) failure: Option<Failure>,
}

/// What can end a stage from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupts<'a> {
    /// Cancelled when the worker leaves.
    pub(crate) leaving: &'a CancellationToken,
    /// Cancelled when the lease is lost; never before there is one.
    pub(crate) lease_lost: &'a CancellationToken,
}

impl Attempt {
    pub(crate) fn new(
        id: AttemptId,
        job: Job,
        envelope: Envelope,
        worker: &str,
        max_attempts: u32,
        ledger: LedgerWriter,
    ) -> Self {
        Self {
            id,
            number: envelope.attempt,
            job,
            envelope,
            worker: worker.to_owned(),
            started_at: Utc::now(),
            max_attempts,
            ledger,
            facts: Mutex::default(),
            held_back: Mutex::new(Some(Vec::new())),
        }
    }

    /// The name of the target's sandbox, and so of its lease.
    pub(crate) fn sandbox_name(&self) -> SandboxName {
        SandboxName::of(&self.job.fleet, &self.job.target)
    }

    /// What is known by now.
    pub(crate) fn facts(&self) -> AttemptFacts {
        self.with_facts(|facts| facts.clone())
    }

    pub(crate) fn note_commit(&self, commit: &Commit) {
        self.with_facts(|facts| facts.commit = Some(commit.clone()));
    }

    pub(crate) fn note_fingerprint(&self, fingerprint: &job::Fingerprint) {
        self.with_facts(|facts| facts.fingerprint = Some(fingerprint.clone()));
    }

    pub(crate) fn note_secrets(&self, secrets: SecretsCheck) {
        self.with_facts(|facts| facts.secrets = Some(secrets));
    }

    pub(crate) fn note_leases_seen(&self, seen: Vec<LeaseSeen>) {
        self.with_facts(|facts| facts.leases_seen = seen);
    }

    /// Records a span as soon as this attempt does more than resolve: ten thousand unchanged targets are ten thousand spans,
    /// every half hour, and not five times as many.
    pub(crate) fn hold_back(&self, parent: Carrier, interval: Interval) {
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held_back {
            Some(held_back) => held_back.push((parent, interval)),
            None => telemetry::record_interval(&parent, interval),
        }
    }

    fn record_held_back(&self) {
        let held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner).take();
        for (parent, interval) in held_back.into_iter().flatten() {
            telemetry::record_interval(&parent, interval);
        }
    }

    /// Says in the ledger, and in the trace, that this attempt does more than resolve.
    pub(crate) fn announce(&self) {
        self.record_held_back();
        self.ledger.write(LedgerEvent::AttemptStarted {
            job: self.job.id,
            target: self.job.target.clone(),
            attempt: self.id,
            number: self.number,
            max_attempts: self.max_attempts,
        });
    }

    /// Notes the bytes on disk that the stage has added which is about to end.
    pub(crate) fn note_added(&self, stage: Stage, bytes: i64) {
        self.with_facts(|facts| facts.added = Some((stage, bytes)));
    }

    /// Runs a stage in a span of its own, and keeps how it went.
    pub(crate) async fn stage<T, E: Into<EarlyEnd>>(
        &self,
        stage: Stage,
        interrupts: Interrupts<'_>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, EarlyEnd> {
        let span = self.span_of(stage);
        let (began, began_at) = (Instant::now(), Utc::now());
        // A future is kept whole wherever it is handed on to: boxed once here, a stage is not kept three times over.
        let work = Box::pin(work);
        let work = async {
            tokio::select! {
                biased;
                () = interrupts.lease_lost.cancelled() => Err(Outcome::LeaseLost.into()),
                () = interrupts.leaving.cancelled() => Err(Outcome::Interrupted.into()),
                result = work => result.map_err(Into::into),
            }
        };
        let result = work.instrument(span.clone()).await;
        let end = StageEnd::of(&result);
        end.record(&span);
        if stage == Stage::Resolve {
            self.hold_back(telemetry::carrier_of(&Span::current()), self.interval_of(stage, began_at, end));
            if matches!(&result, Err(EarlyEnd::Outcome(outcome)) if matches!(**outcome, Outcome::Failed(_))) {
                self.record_held_back();
            }
        }
        let milliseconds = milliseconds(began.elapsed());
        let added = self.with_facts(|facts| facts.added.take()).filter(|(of, _)| *of == stage);
        let added_bytes = added.map(|(_, bytes)| bytes);
        if let Some(bytes) = added_bytes {
            span.record("harvest.stage.added_bytes", bytes);
        }
        self.report(StageReport { stage, result: end.result().to_owned(), milliseconds, added_bytes });
        result
    }

    fn span_of(&self, stage: Stage) -> Span {
        let span = tracing::info_span!(
            "stage",
            otel.name = stage.as_str(),
            otel.status_code = tracing::field::Empty,
            stage = stage.as_str(),
            cicd.pipeline.task.name = stage.as_str(),
            cicd.pipeline.task.run.id = %self.run_id(stage),
            cicd.pipeline.task.run.result = tracing::field::Empty,
            error.type = tracing::field::Empty,
            harvest.stage.added_bytes = tracing::field::Empty,
        );
        if stage == Stage::Resolve {
            // Whether it is worth a span is only known at its end.
            let kept = telemetry::keep_unexported(&span);
            tracing::trace!(?kept, "resolve is told after the fact");
        }
        span
    }

    /// What the stage's span would have been, made once it is over.
    fn interval_of(&self, stage: Stage, start: DateTime<Utc>, end: StageEnd) -> Interval {
        let mut attributes = vec![
            KeyValue::new("stage", stage.as_str()),
            KeyValue::new("cicd.pipeline.task.name", stage.as_str()),
            KeyValue::new("cicd.pipeline.task.run.id", self.run_id(stage)),
            KeyValue::new("cicd.pipeline.task.run.result", end.word()),
        ];
        let ended = match end {
            StageEnd::Success | StageEnd::Skip(_) => IntervalEnd::Passed,
            StageEnd::Failure(id) => {
                attributes.push(KeyValue::new("error.type", id));
                IntervalEnd::Failed
            }
        };
        Interval { name: stage.as_str().into(), start, end: Utc::now(), ended, attributes }
    }

    fn run_id(&self, stage: Stage) -> String {
        format!("{}.{stage}", self.id)
    }

    fn report(&self, report: StageReport) {
        self.with_facts(|facts| facts.stages.push(report.clone()));
        // Resolve alone is not worth an entry: an unchanged target has nothing to say, every half hour.
        if report.stage != Stage::Resolve {
            self.ledger.write(LedgerEvent::StageEnded {
                job: self.job.id,
                target: self.job.target.clone(),
                attempt: self.id,
                report,
            });
        }
    }

    fn with_facts<T>(&self, with: impl FnOnce(&mut AttemptFacts) -> T) -> T {
        with(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
