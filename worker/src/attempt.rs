//! One attempt while it runs: who it is, what it has found out, how its stages went.
//!
//! A stage ends by itself, or because the worker leaves, or because the lease is another's; nobody waits longer.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use job::{AttemptId, Commit, Envelope, Failure, Job, LeaseSeen, LedgerEvent, Outcome, Stage, StageReport};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::story::Story;

/// How an attempt ends before its last stage: the error type of everything under [`crate::process`].
#[derive(Debug)]
pub(crate) struct Ended(Box<Outcome>);

impl Ended {
    pub(crate) fn into_outcome(self) -> Outcome {
        *self.0
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.0
    }
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self(Box::new(outcome))
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Outcome::Failed(failure).into()
    }
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) number: u32,
    pub(crate) job: Job,
    pub(crate) envelope: Envelope,
    pub(crate) worker: String,
    pub(crate) started_at: DateTime<Utc>,
    max_attempts: u32,
    story: Story,
    found: Mutex<Found>,
}

/// What an attempt found out on its way; read when it is settled, whatever its outcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) commit: Option<Commit>,
    pub(crate) fingerprint: Option<job::Fingerprint>,
    pub(crate) lease_seen: Option<LeaseSeen>,
    pub(crate) stages: Vec<StageReport>,
    /// Set once the attempt has ended, together with how.
    pub(crate) failure: Option<Failure>,
}

/// What can end a stage from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupts<'a> {
    /// The worker is leaving.
    pub(crate) leaving: &'a CancellationToken,
    /// The lease is lost; never cancelled before there is one.
    pub(crate) lease_lost: &'a CancellationToken,
}

impl Attempt {
    pub(crate) fn new(job: Job, envelope: Envelope, worker: &str, max_attempts: u32, story: Story) -> Self {
        Self {
            id: AttemptId::new(),
            number: envelope.attempt,
            job,
            envelope,
            worker: worker.to_owned(),
            started_at: Utc::now(),
            max_attempts,
            story,
            found: Mutex::default(),
        }
    }

    /// What is known by now.
    pub(crate) fn found(&self) -> Found {
        self.locked(|found| found.clone())
    }

    pub(crate) fn note_commit(&self, commit: &Commit) {
        self.locked(|found| found.commit = Some(commit.clone()));
    }

    pub(crate) fn note_fingerprint(&self, fingerprint: &job::Fingerprint) {
        self.locked(|found| found.fingerprint = Some(fingerprint.clone()));
    }

    pub(crate) fn note_lease_seen(&self, seen: LeaseSeen) {
        self.locked(|found| found.lease_seen = Some(seen));
    }

    /// Says in the ledger that this attempt does more than look.
    pub(crate) fn announce(&self) {
        self.story.tell(LedgerEvent::AttemptStarted {
            job: self.job.id,
            target: self.job.target.clone(),
            attempt: self.id,
            number: self.number,
            max_attempts: self.max_attempts,
        });
    }

    /// Runs a stage in a span of its own, and keeps how it went.
    pub(crate) async fn stage<T, E: Into<Ended>>(
        &self,
        stage: Stage,
        interrupts: Interrupts<'_>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Ended> {
        let span = tracing::info_span!(
            "stage",
            otel.name = stage.as_str(),
            otel.status_code = tracing::field::Empty,
            stage = stage.as_str(),
            cicd.pipeline.task.name = stage.as_str(),
            cicd.pipeline.task.run.id = %format_args!("{}.{stage}", self.id),
            cicd.pipeline.task.run.result = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let began = Instant::now();
        let work = async {
            tokio::select! {
                biased;
                () = interrupts.lease_lost.cancelled() => Err(Outcome::LeaseLost.into()),
                () = interrupts.leaving.cancelled() => Err(Outcome::Interrupted.into()),
                result = work => result.map_err(Into::into),
            }
        };
        let result = work.instrument(span.clone()).await;
        let ended = result.as_ref().err().map(Ended::outcome);
        match ended.and_then(Outcome::failure) {
            Some(failure) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", failure.id.id());
                span.record("cicd.pipeline.task.run.result", "failure");
            }
            None => {
                span.record("cicd.pipeline.task.run.result", if ended.is_none() { "success" } else { "skip" });
            }
        }
        let result_word = ended.map_or_else(|| "ok".to_owned(), |outcome| match outcome.failure() {
            Some(failure) => failure.id.to_string(),
            None => outcome.word().to_string(),
        });
        self.report(StageReport { stage, result: result_word, milliseconds: milliseconds(began.elapsed()) });
        result
    }

    fn report(&self, report: StageReport) {
        self.locked(|found| found.stages.push(report.clone()));
        // Resolve alone is no story: an unchanged target tells nothing, every half hour.
        if report.stage != Stage::Resolve {
            self.story.tell(LedgerEvent::StageEnded {
                job: self.job.id,
                target: self.job.target.clone(),
                attempt: self.id,
                report,
            });
        }
    }

    fn locked<T>(&self, with: impl FnOnce(&mut Found) -> T) -> T {
        with(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
