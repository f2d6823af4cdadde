//! What status shows, from what is known. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use job::{FailureKind, FleetName, JobId, Pause, Target, TargetState, Tick};
use serde::Serialize;

use crate::commands::pause::describe;
use crate::layout::format_table;
use crate::output::View;
use crate::time::{ago, at, length};
use crate::views::{FailureView, GoneView, LastView, PrebuildView};

/// What is known of the fleet.
pub(crate) struct FleetNow {
    pub(crate) fleet: FleetName,
    pub(crate) listed: Vec<Target>,
    pub(crate) problems: Vec<String>,
    pub(crate) states: BTreeMap<Target, TargetState>,
    pub(crate) last_tick: Option<Tick>,
    pub(crate) queues: Vec<QueueNow>,
    /// How long a target has to be gone from the fleet file before its prebuilds are removed.
    pub(crate) patience: TimeDelta,
}

/// How deep a queue is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct QueueNow {
    pub(crate) queue: String,
    pub(crate) messages: u32,
}

/// How the fleet stands.
#[derive(Debug, Serialize)]
pub(crate) struct StatusView {
    fleet: FleetName,
    at: DateTime<Utc>,
    last_tick: Option<Tick>,
    queues: Vec<QueueNow>,
    targets: Vec<TargetView>,
    /// What is wrong in fleet.toml.
    problems: Vec<String>,
}

/// How one target stands.
#[derive(Debug, Serialize)]
struct TargetView {
    target: Target,
    /// Whether fleet.toml has it; if not, nothing builds it any more.
    listed: bool,
    gone: Option<GoneView>,
    prebuild: Option<PrebuildView>,
    last: Option<LastView>,
    failing: Option<FailingView>,
    dead_letters: Vec<OpenView>,
    /// While an operator has nothing built of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<Pause>,
}

/// A failure that stands.
#[derive(Debug, Serialize)]
struct FailingView {
    failure: FailureView,
    commit: Option<String>,
    since: DateTime<Utc>,
    count: u64,
}

/// An open dead letter.
#[derive(Debug, Serialize)]
struct OpenView {
    failure: FailureKind,
    job: JobId,
    count: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

/// Makes the view of what is known.
pub(crate) fn view(known: &FleetNow, now: DateTime<Utc>) -> StatusView {
    let mut targets: Vec<TargetView> =
        known.listed.iter().map(|target| target_view(target, known.states.get(target), known, now)).collect();
    let unlisted = known.states.iter().filter(|(target, _)| !known.listed.contains(target));
    targets.extend(unlisted.map(|(target, state)| target_view(target, Some(state), known, now)));
    StatusView {
        fleet: known.fleet.clone(),
        at: now,
        last_tick: known.last_tick,
        queues: known.queues.clone(),
        targets,
        problems: known.problems.clone(),
    }
}

fn target_view(
    target: &Target,
    state: Option<&TargetState>,
    known: &FleetNow,
    now: DateTime<Utc>,
) -> TargetView {
    let listed = known.listed.contains(target);
    let open = |state: &TargetState| {
        let view = |(&failure, open): (&FailureKind, &job::OpenDeadLetter)| OpenView {
            failure,
            job: open.job,
            count: open.count,
            first: open.first,
            last: open.last,
        };
        state.open_dead_letters.iter().map(view).collect()
    };
    TargetView {
        target: target.clone(),
        listed,
        gone: state.and_then(|state| state.gone).map(|gone| GoneView::new(gone, known.patience)),
        prebuild: state
            .and_then(|state| state.promoted.as_ref())
            .map(|prebuild| PrebuildView::new(prebuild, now)),
        last: state.and_then(|state| state.last.as_ref()).map(LastView::new),
        failing: state.and_then(|state| state.failing.as_ref()).map(|failing| FailingView {
            failure: FailureView::new(&failing.failure),
            commit: failing.commit.as_ref().map(ToString::to_string),
            since: failing.since,
            count: failing.count,
        }),
        dead_letters: state.map(open).unwrap_or_default(),
        pause: state.and_then(|state| state.pause_at(now)).cloned(),
    }
}

impl View for StatusView {
    fn text(&self) -> String {
        let tick = self.last_tick.map_or("none yet".to_owned(), |tick| at(tick.time(), self.at));
        let mut text = format!("fleet {}, last tick {tick}\n\n", self.fleet);
        if self.targets.is_empty() {
            text.push_str("no targets: add [[repository]] entries to fleet.toml\n");
        } else {
            let header = ["TARGET", "PREBUILD", "BUILT", "QUALITY", "LAST OUTCOME", "IN THE WAY"];
            text.push_str(&format_table(header, self.targets.iter().map(|target| target.row(self.at))));
        }
        text.push_str("\nqueues: ");
        let queues = self.queues.iter().map(|queue| format!("{} {}", queue.queue, queue.messages));
        text.push_str(&queues.collect::<Vec<_>>().join(", "));
        text.push('\n');
        for problem in &self.problems {
            text.push_str("\nfleet file: ");
            text.push_str(problem);
        }
        if !self.problems.is_empty() {
            text.push('\n');
        }
        text
    }
}

impl TargetView {
    fn row(&self, now: DateTime<Utc>) -> [String; 6] {
        let dash = || "-".to_owned();
        let prebuild = self.prebuild.as_ref();
        let last = self.last.as_ref().map(|last| {
            let took = length(std::time::Duration::from_millis(last.milliseconds));
            format!("{} {} ({took})", last.outcome, ago(last.at, now))
        });
        [
            self.target.to_string(),
            prebuild.map_or_else(dash, |prebuild| prebuild.commit_short().to_owned()),
            prebuild.map_or_else(dash, |prebuild| ago(prebuild.built_at, now)),
            prebuild.map_or_else(dash, PrebuildView::quality),
            last.unwrap_or_else(dash),
            self.in_the_way(now),
        ]
    }

    fn in_the_way(&self, now: DateTime<Utc>) -> String {
        let mut words = Vec::new();
        if !self.listed {
            let gone = self.gone.as_ref().map(GoneView::sentence);
            words.push(gone.unwrap_or_else(|| "not in fleet.toml".to_owned()));
        }
        words.extend(self.pause.as_ref().map(|pause| describe(pause, now)));
        if let Some(failing) = &self.failing {
            words.push(format!("{} until it changes", failing.failure.id));
        }
        let waiting = self.dead_letters.len();
        if waiting > 0 {
            words.push(format!("{waiting} dead letter{}", if waiting == 1 { "" } else { "s" }));
        }
        if words.is_empty() { "-".to_owned() } else { words.join("; ") }
    }
}

#[cfg(test)]
mod tests;
