//! The parts that several answers share, in the shapes that `--json` promises.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use job::{
    AttemptId, BuildMode, Completeness, Failure, FailureKind, GoneTarget, JobId, LastAttempt, OutcomeWord,
    PrebuildRecord, Stage,
};
use serde::Serialize;

use crate::time::{absolute, at, length, since};

/// A prebuild of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PrebuildView {
    pub(crate) name: String,
    pub(crate) snapshot_id: String,
    pub(crate) commit: String,
    pub(crate) fingerprint: String,
    pub(crate) completeness: Completeness,
    pub(crate) flags: Vec<String>,
    /// Names of the secrets it may have been given; none where its worker did not note them.
    pub(crate) secrets: Option<BTreeSet<String>>,
    pub(crate) mode: BuildMode,
    pub(crate) built_at: DateTime<Utc>,
    pub(crate) age_seconds: u64,
    pub(crate) size_gb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) added_bytes: Option<i64>,
    pub(crate) cold_start_milliseconds: Option<u64>,
    /// Daytona's word: the snapshot's state, or `missing`; none where Daytona was not asked.
    pub(crate) in_daytona: Option<String>,
}

impl PrebuildView {
    pub(crate) fn new(prebuild: &PrebuildRecord, now: DateTime<Utc>) -> Self {
        Self {
            name: prebuild.name.to_string(),
            snapshot_id: prebuild.snapshot_id.clone(),
            commit: prebuild.commit.to_string(),
            fingerprint: prebuild.fingerprint.to_string(),
            completeness: prebuild.completeness,
            flags: prebuild.flags.clone(),
            secrets: prebuild.secrets.clone(),
            mode: prebuild.mode,
            built_at: prebuild.built_at,
            age_seconds: since(prebuild.built_at, now).as_secs(),
            size_gb: prebuild.size_gb,
            added_bytes: prebuild.added_bytes,
            cold_start_milliseconds: prebuild.cold_start_milliseconds,
            in_daytona: None,
        }
    }

    /// The same, with what Daytona says of it.
    pub(crate) fn looked_up(self, in_daytona: Option<String>) -> Self {
        Self { in_daytona, ..self }
    }

    pub(crate) fn commit_short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }

    /// `complete`, `partial`, with the flags.
    pub(crate) fn quality(&self) -> String {
        std::iter::once(self.completeness.to_string())
            .chain(self.flags.iter().cloned())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A failure, without its log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FailureView {
    pub(crate) id: FailureKind,
    pub(crate) stage: Stage,
    pub(crate) message: String,
    pub(crate) exit_code: Option<i32>,
}

impl FailureView {
    pub(crate) fn new(failure: &Failure) -> Self {
        Self {
            id: failure.id,
            stage: failure.stage,
            message: failure.message.clone(),
            exit_code: failure.exit_code,
        }
    }
}

/// The latest attempt that did something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LastView {
    pub(crate) job: JobId,
    pub(crate) attempt: AttemptId,
    pub(crate) number: u32,
    pub(crate) outcome: OutcomeWord,
    pub(crate) failure: Option<FailureView>,
    pub(crate) commit: Option<String>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) milliseconds: u64,
    pub(crate) trace_id: Option<String>,
}

impl LastView {
    pub(crate) fn new(last: &LastAttempt) -> Self {
        Self {
            job: last.job,
            attempt: last.attempt,
            number: last.number,
            outcome: last.outcome,
            failure: last.failure.as_ref().map(FailureView::new),
            commit: last.commit.as_ref().map(ToString::to_string),
            at: last.at,
            milliseconds: last.milliseconds,
            trace_id: last.trace_id.clone(),
        }
    }

    /// `failed install.failed at 2026-… (4m ago), took 3m 2s`.
    pub(crate) fn sentence(&self, now: DateTime<Utc>) -> String {
        let failure = self.failure.as_ref().map(|failure| format!(" {}", failure.id)).unwrap_or_default();
        let took = length(std::time::Duration::from_millis(self.milliseconds));
        format!("{}{failure} at {}, took {took}", self.outcome, at(self.at, now))
    }
}

/// A target that is gone from the fleet file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GoneView {
    since: DateTime<Utc>,
    /// When its prebuilds were removed, or are to be.
    prebuilds_removed_at: DateTime<Utc>,
    retired: bool,
}

impl GoneView {
    /// Where a target's prebuilds are removed after `patience`.
    pub(crate) fn new(gone: GoneTarget, patience: TimeDelta) -> Self {
        let due = gone.since.checked_add_signed(patience).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let GoneTarget { since, retired, .. } = gone;
        Self { since, prebuilds_removed_at: retired.unwrap_or(due), retired: retired.is_some() }
    }

    /// The same as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let verb = if self.retired { "were" } else { "are" };
        let (since, removed) = (absolute(self.since), absolute(self.prebuilds_removed_at));
        format!("gone from fleet.toml since {since}, its prebuilds {verb} removed at {removed}")
    }
}
