//! The ledger: what happened in the fleet, append-only, kept for a week.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, Commit, Failure, JobId, NextAttempt, OutcomeWord, PrebuildName, Stage, StageReport, Target,
    Tick,
};

/// One thing that happened. Made by [`LedgerEntry::new`] alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// When it happened, by the clock of who says so.
    pub at: DateTime<Utc>,
    /// Who says so: a worker's, producer's or operator's name.
    pub by: String,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What happened, with its particulars.
    pub event: LedgerEvent,
}

impl LedgerEntry {
    /// What `by` says happened at that time, in no trace.
    pub fn new(at: DateTime<Utc>, by: impl Into<String>, event: LedgerEvent) -> Self {
        Self { at, by: by.into(), trace_id: None, event }
    }

    /// The same entry in the trace it belongs to, where there is one.
    #[must_use]
    pub fn in_trace(self, trace_id: Option<String>) -> Self {
        Self { trace_id, ..self }
    }
}

/// What happened, one variant for each kind of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LedgerEvent {
    /// The schedule fired and its jobs were published.
    TickFired {
        /// The tick that fired.
        tick: Tick,
        /// How many jobs it published.
        jobs: u64,
    },
    /// The schedule should have fired, but the queue is too deep or the broker too full.
    TickSkipped {
        /// The tick that should have fired.
        tick: Tick,
        /// Why, in a sentence.
        reason: String,
    },
    /// A worker began an attempt.
    AttemptStarted {
        /// The job it is an attempt of.
        job: JobId,
        /// The target of the job.
        target: Target,
        /// The id of the attempt.
        attempt: AttemptId,
        /// Its number among the job's attempts, from 1.
        number: u32,
        /// How many there may be.
        max_attempts: u32,
    },
    /// A stage of an attempt ended, well or not.
    StageEnded {
        /// The job it is part of.
        job: JobId,
        /// The target of the job.
        target: Target,
        /// The attempt it is part of.
        attempt: AttemptId,
        /// How it went and how long it took.
        report: StageReport,
    },
    /// An attempt ended and what follows was decided.
    AttemptEnded(Box<AttemptEnd>),
    /// What changed nothing, gathered for a minute.
    NoOps {
        /// The jobs, in the order in which their attempts ended.
        jobs: Vec<NoOp>,
    },
    /// An operator did something.
    Operator {
        /// What was done: `submit`, `replay`, ...
        act: String,
        /// The target it was done to; absent when it concerns none.
        target: Option<Target>,
        /// The job it was done to; absent when it concerns none.
        job: Option<JobId>,
    },
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// The job it was an attempt of.
    pub job: JobId,
    /// The target of the job.
    pub target: Target,
    /// The id of the attempt.
    pub attempt: AttemptId,
    /// Its number among the job's attempts, from 1.
    pub number: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// The word for how it ended.
    pub outcome: OutcomeWord,
    /// What follows, as a word: `ack`, `retry`, `dead_letter`, `hand_back`, `drop`.
    pub decision: String,
    /// How long until the next attempt, in milliseconds, for `retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_milliseconds: Option<u64>,
    /// Whether the next attempt counts, for `retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextAttempt>,
    /// The failure with its whole log tail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The commit, when it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// The prebuild that sessions are given after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prebuild: Option<PrebuildName>,
    /// Every stage that ran.
    #[serde(default)]
    pub stages: Vec<StageReport>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

impl LedgerEvent {
    /// What an operator did to one job of a target: `submit`, `replay`.
    pub fn operator_act(act: &str, target: Target, job: JobId) -> Self {
        Self::Operator { act: act.to_owned(), target: Some(target), job: Some(job) }
    }
}

impl AttemptEnd {
    /// Whether no other attempt follows.
    pub fn is_last(&self) -> bool {
        matches!(self.decision.as_str(), "ack" | "dead_letter")
    }

    /// The stage it failed at.
    pub fn failed_at(&self) -> Option<Stage> {
        self.failure.as_ref().map(|failure| failure.stage)
    }
}

/// A job that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoOp {
    /// The job that changed nothing.
    pub job: JobId,
    /// The target of the job.
    pub target: Target,
    /// The word for how it ended.
    pub outcome: OutcomeWord,
}
