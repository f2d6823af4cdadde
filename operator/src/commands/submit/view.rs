//! What submit prints: its answer, and a line for each step while it waits. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{JobId, Target};
use serde::Serialize;

use super::watched_jobs::{Next, Progress, Step, Summary, TargetEnd};
use crate::output::View;
use crate::time::length;

/// One line about one target.
pub(super) fn line(progress: &Progress) -> String {
    let target = &progress.target;
    match &progress.step {
        Step::Started { number, max_attempts, .. } => {
            format!("{target}  attempt {number}/{max_attempts}  started")
        }
        Step::Stage { stage, result, milliseconds, .. } => {
            format!("{target}    {stage} {result} {}", length(Duration::from_millis(*milliseconds)))
        }
        Step::Attempt { number, max_attempts, outcome, failure, next, milliseconds, .. } => {
            let what = match failure {
                Some(failure) => format!("{outcome} {} ({})", failure.id, failure.message),
                None => format!("{outcome} in {}", length(Duration::from_millis(*milliseconds))),
            };
            let then = match next {
                Next::Nothing => String::new(),
                Next::DeadLetter => "; dead letter: harvestctl dead-letters list".to_owned(),
                Next::Retry => {
                    format!("; next try in {}", length(progress.step.retry_after().unwrap_or_default()))
                }
                Next::HandedOn => "; another worker goes on".to_owned(),
            };
            format!("{target}  attempt {number}/{max_attempts}  {what}{then}")
        }
        Step::Ended { outcome } => format!("{target}  {outcome}"),
    }
}

impl View for Progress {
    fn text(&self) -> String {
        line(self) + "\n"
    }
}

/// A job that was published, or not.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct SubmittedView {
    pub(in crate::commands) target: Target,
    pub(in crate::commands) job: JobId,
    pub(in crate::commands) trace_id: Option<String>,
    /// Why it was not published.
    pub(in crate::commands) error: Option<String>,
}

impl SubmittedView {
    /// The line about it.
    pub(in crate::commands) fn line(&self) -> String {
        match &self.error {
            None => format!("{}  submitted as job {}\n", self.target, self.job),
            Some(error) => format!("{}  not submitted: {error}\n", self.target),
        }
    }
}

/// The answer without `--wait`.
#[derive(Debug, Serialize)]
pub(super) struct SubmitView {
    pub(super) submitted: Vec<SubmittedView>,
    /// What is wrong in fleet.toml.
    pub(super) problems: Vec<String>,
}

impl View for SubmitView {
    fn text(&self) -> String {
        self.submitted.iter().map(SubmittedView::line).collect()
    }
}

/// A line of JSON that is not about an attempt.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Notice {
    Submitted {
        at: DateTime<Utc>,
        #[serde(flatten)]
        job: SubmittedView,
    },
    Summary(Summary),
}

impl View for Notice {
    fn text(&self) -> String {
        match self {
            Self::Submitted { job, .. } => job.line(),
            Self::Summary(summary) => list_ends(summary),
        }
    }
}

fn list_ends(summary: &Summary) -> String {
    let list = |targets: &[Target]| targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let line = |end: &TargetEnd| match end.outcome {
        Some(outcome) => format!("{}  {outcome}", end.target),
        None => format!("{}  still running", end.target),
    };
    let mut lines: Vec<String> = summary.targets.iter().map(line).collect();
    lines.push(format!("Success: {}/{}", summary.succeeded.len(), summary.total));
    if !summary.failed.is_empty() {
        lines.push(format!("Failed: {}", list(&summary.failed)));
    }
    if !summary.unknown.is_empty() {
        lines.push(format!("Still running: {}", list(&summary.unknown)));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use job::OutcomeWord;

    use super::*;
    use crate::examples::target;

    #[test]
    fn the_summary_names_what_failed_and_what_goes_on() {
        let ended = |name: &str, outcome| TargetEnd { target: target(name), outcome };
        let summary = Summary {
            total: 3,
            targets: vec![
                ended("o/a@main", Some(OutcomeWord::Built)),
                ended("o/b@main", Some(OutcomeWord::Failed)),
                ended("o/c@main", None),
            ],
            succeeded: vec![target("o/a@main")],
            failed: vec![target("o/b@main")],
            unknown: vec![target("o/c@main")],
        };
        assert!(!summary.is_success());
        insta::assert_snapshot!(list_ends(&summary), @r"
        o/a@main  built
        o/b@main  failed
        o/c@main  still running
        Success: 1/3
        Failed: o/b@main
        Still running: o/c@main
        ");
    }
}
