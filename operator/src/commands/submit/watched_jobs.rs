//! The jobs that `submit --wait` waits for, as a state machine fed with ledger entries. Pure.
//!
//! Entries may come twice (the ledger is read again after a lost connection) and an end may be known from the register
//! alone; each step is reported once, each job ends once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{AttemptEnd, AttemptId, JobId, LedgerEntry, LedgerEvent, OutcomeWord, Stage, Target, TargetState};
use serde::Serialize;

use crate::views::FailureView;

/// The jobs that are waited for.
#[derive(Debug)]
pub(super) struct WatchedJobs {
    jobs: BTreeMap<JobId, WatchedJob>,
    reported: BTreeSet<(AttemptId, Milestone)>,
}

#[derive(Debug)]
struct WatchedJob {
    target: Target,
    end: Option<OutcomeWord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Milestone {
    Started,
    Stage(Stage),
    Ended,
}

/// A step of a job that is waited for.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Progress {
    pub(super) target: Target,
    pub(super) job: JobId,
    pub(super) at: DateTime<Utc>,
    #[serde(flatten)]
    pub(super) step: Step,
}

/// What happened to a job.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Step {
    /// A worker began an attempt.
    Started { attempt: AttemptId, number: u32, max_attempts: u32 },
    /// A stage of an attempt ended.
    Stage { attempt: AttemptId, stage: Stage, result: String, milliseconds: u64 },
    /// An attempt ended, and what follows.
    Attempt {
        attempt: AttemptId,
        number: u32,
        max_attempts: u32,
        outcome: OutcomeWord,
        failure: Option<FailureView>,
        next: Next,
        retry_milliseconds: Option<u64>,
        prebuild: Option<String>,
        milliseconds: u64,
        trace_id: Option<String>,
    },
    /// The job ended, known from a batch or from the register.
    Ended { outcome: OutcomeWord },
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Next {
    /// Nothing: the job is done.
    Nothing,
    /// Nothing but a dead letter.
    DeadLetter,
    /// Another attempt after a while.
    Retry,
    /// Another worker goes on.
    HandedOn,
}

/// How all jobs ended.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) total: usize,
    /// Each target and how its job ended; none when it had not when the waiting did.
    pub(super) targets: Vec<TargetEnd>,
    pub(super) succeeded: Vec<Target>,
    pub(super) failed: Vec<Target>,
    /// Not ended when the waiting did.
    pub(super) unknown: Vec<Target>,
}

/// How one target's job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TargetEnd {
    pub(super) target: Target,
    pub(super) outcome: Option<OutcomeWord>,
}

impl WatchedJobs {
    pub(super) fn new(jobs: impl IntoIterator<Item = (JobId, Target)>) -> Self {
        let jobs = jobs.into_iter().map(|(id, target)| (id, WatchedJob { target, end: None })).collect();
        Self { jobs, reported: BTreeSet::new() }
    }

    /// Takes what is new in an entry.
    pub(super) fn read_entry(&mut self, entry: &LedgerEntry) -> Vec<Progress> {
        match &entry.event {
            LedgerEvent::AttemptStarted { job, attempt, number, max_attempts, .. } => {
                let step = Step::Started { attempt: *attempt, number: *number, max_attempts: *max_attempts };
                self.report_once(*job, *attempt, Milestone::Started, entry, step)
            }
            LedgerEvent::StageEnded { job, attempt, report, .. } => {
                let step = Step::Stage {
                    attempt: *attempt,
                    stage: report.stage,
                    result: report.result.clone(),
                    milliseconds: report.milliseconds,
                };
                self.report_once(*job, *attempt, Milestone::Stage(report.stage), entry, step)
            }
            LedgerEvent::AttemptEnded(end) => {
                let step = attempt_step(end, entry);
                let progress = self.report_once(end.job, end.attempt, Milestone::Ended, entry, step);
                if let Some(watched) = self.jobs.get_mut(&end.job)
                    && end.is_last()
                {
                    watched.end = Some(end.outcome);
                }
                progress
            }
            LedgerEvent::NoOps { jobs } => {
                jobs.iter().filter_map(|no_op| self.end(no_op.job, no_op.outcome, entry.at)).collect()
            }
            LedgerEvent::TickFired { .. }
            | LedgerEvent::TickSkipped { .. }
            | LedgerEvent::Operator { .. } => Vec::new(),
        }
    }

    /// Takes what the register knows, for an end that the ledger lost: a success is one, a failure only with its dead
    /// letter, since another attempt may follow.
    pub(super) fn read_state(&mut self, state: &TargetState) -> Vec<Progress> {
        let Some(last) = &state.last else { return Vec::new() };
        let dead = state.open_dead_letters.values().any(|open| open.job == last.job);
        if last.outcome.is_success() || dead {
            self.end(last.job, last.outcome, last.at).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn report_once(
        &mut self,
        job: JobId,
        attempt: AttemptId,
        milestone: Milestone,
        entry: &LedgerEntry,
        step: Step,
    ) -> Vec<Progress> {
        match self.jobs.get(&job) {
            Some(watched) if watched.end.is_none() && self.reported.insert((attempt, milestone)) => {
                vec![Progress { target: watched.target.clone(), job, at: entry.at, step }]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn end(&mut self, job: JobId, outcome: OutcomeWord, at: DateTime<Utc>) -> Option<Progress> {
        let watched = self.jobs.get_mut(&job).filter(|watched| watched.end.is_none())?;
        watched.end = Some(outcome);
        Some(Progress { target: watched.target.clone(), job, at, step: Step::Ended { outcome } })
    }

    /// The job was not published: it has failed, and no entry will say so.
    pub(super) fn mark_unpublished(&mut self, job: JobId) {
        if let Some(watched) = self.jobs.get_mut(&job) {
            watched.end = Some(OutcomeWord::Failed);
        }
    }

    pub(super) fn have_all_ended(&self) -> bool {
        self.jobs.values().all(|watched| watched.end.is_some())
    }

    /// The targets whose jobs have not ended.
    pub(super) fn list_open(&self) -> Vec<Target> {
        self.jobs
            .values()
            .filter(|watched| watched.end.is_none())
            .map(|watched| watched.target.clone())
            .collect()
    }

    pub(super) fn summarise(&self) -> Summary {
        let mut summary = Summary {
            total: self.jobs.len(),
            targets: Vec::new(),
            succeeded: Vec::new(),
            failed: Vec::new(),
            unknown: Vec::new(),
        };
        for watched in self.jobs.values() {
            let list = match watched.end {
                Some(outcome) if outcome.is_success() => &mut summary.succeeded,
                Some(_) => &mut summary.failed,
                None => &mut summary.unknown,
            };
            list.push(watched.target.clone());
            summary.targets.push(TargetEnd { target: watched.target.clone(), outcome: watched.end });
        }
        summary.targets.sort_by(|a, b| a.target.cmp(&b.target));
        summary.succeeded.sort();
        summary.failed.sort();
        summary.unknown.sort();
        summary
    }
}

impl Summary {
    pub(super) fn is_success(&self) -> bool {
        self.succeeded.len() == self.total
    }
}

impl Step {
    /// How long until the next attempt.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Attempt { retry_milliseconds, .. } => retry_milliseconds.map(Duration::from_millis),
            Self::Started { .. } | Self::Stage { .. } | Self::Ended { .. } => None,
        }
    }
}

fn attempt_step(end: &AttemptEnd, entry: &LedgerEntry) -> Step {
    let next = match end.decision.as_str() {
        "ack" => Next::Nothing,
        "dead_letter" => Next::DeadLetter,
        "retry" => Next::Retry,
        // `hand_back` and `drop`: the message is another worker's.
        _ => Next::HandedOn,
    };
    Step::Attempt {
        attempt: end.attempt,
        number: end.number,
        max_attempts: end.max_attempts,
        outcome: end.outcome,
        failure: end.failure.as_ref().map(FailureView::new),
        next,
        retry_milliseconds: end.retry_milliseconds,
        prebuild: end.prebuild.as_ref().map(ToString::to_string),
        milliseconds: end.milliseconds,
        trace_id: entry.trace_id.clone(),
    }
}

#[cfg(test)]
mod tests;
