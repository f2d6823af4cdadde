//! Everything about one target, in the shape that `--json` promises. Pure.

mod text;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use daytona::SandboxState;
use job::{
    AttemptEnd, AttemptId, Commit, FailureKind, JobId, LedgerEntry, LedgerEvent, OutcomeWord, PrebuildRecord,
    Settings, StageReport, Target, TargetState,
};
use serde::Serialize;

use super::next_tick::NextTick;
use crate::commands::prebuilds::ListedPrebuild;
use crate::views::{FailureView, GoneView, LastView, PrebuildView};

/// How many attempts are shown.
pub(super) const ATTEMPTS: usize = 10;

/// What was found out of the target.
#[derive(Debug)]
pub(super) struct TargetFacts {
    pub(super) target: Target,
    pub(super) settings: Option<Settings>,
    pub(super) settings_from: String,
    pub(super) state: Option<TargetState>,
    pub(super) attempts: Vec<AttemptView>,
    pub(super) lease: Lease,
    pub(super) base: Option<BaseView>,
    /// Those that were looked up in Daytona.
    pub(super) prebuilds: Vec<ListedPrebuild>,
    pub(super) next_tick: NextTick,
    /// How long a target has to be gone from the fleet file before its prebuilds are removed.
    pub(super) patience: TimeDelta,
    pub(super) notes: Vec<String>,
}

/// Everything about the target, as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct ExplainView {
    target: Target,
    at: DateTime<Utc>,
    /// None when fleet.toml does not have it.
    settings: Option<Settings>,
    settings_from: String,
    gone: Option<GoneView>,
    prebuild: Option<PrebuildView>,
    kept: Vec<PrebuildView>,
    last: Option<LastView>,
    failing: Option<FailingView>,
    open_dead_letters: BTreeMap<FailureKind, JobId>,
    attempts: Vec<AttemptView>,
    lease: Lease,
    /// The one a build would start from now; none where it could not be looked up, or is not there.
    base_snapshot: Option<BaseView>,
    next_tick: NextTick,
    /// What could not be found out.
    notes: Vec<String>,
}

/// A failure that stands.
#[derive(Debug, Serialize)]
struct FailingView {
    failure: FailureView,
    commit: Option<Commit>,
    since: DateTime<Utc>,
    count: u64,
}

/// One attempt of the ledger.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AttemptView {
    at: DateTime<Utc>,
    by: String,
    job: JobId,
    attempt: AttemptId,
    number: u32,
    max_attempts: u32,
    outcome: OutcomeWord,
    decision: String,
    failure: Option<FailureView>,
    commit: Option<Commit>,
    milliseconds: u64,
    stages: Vec<StageReport>,
    trace_id: Option<String>,
}

impl AttemptView {
    /// The attempt that ended with this entry, if it is one of this target.
    pub(super) fn of(entry: &LedgerEntry, target: &Target) -> Option<Self> {
        let LedgerEvent::AttemptEnded(end) = &entry.event else { return None };
        (end.target == *target).then(|| Self::new(entry, end))
    }

    fn new(entry: &LedgerEntry, end: &AttemptEnd) -> Self {
        Self {
            at: entry.at,
            by: entry.by.clone(),
            job: end.job,
            attempt: end.attempt,
            number: end.number,
            max_attempts: end.max_attempts,
            outcome: end.outcome,
            decision: end.decision.clone(),
            failure: end.failure.as_ref().map(FailureView::new),
            commit: end.commit.clone(),
            milliseconds: end.milliseconds,
            stages: end.stages.clone(),
            trace_id: entry.trace_id.clone(),
        }
    }
}

/// The snapshot that `base_snapshot` means now.
#[derive(Debug, Serialize)]
pub(super) struct BaseView {
    pub(super) name: String,
    pub(super) id: String,
}

/// Who has the right to build it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "lease", rename_all = "snake_case")]
pub(super) enum Lease {
    /// Daytona could not be asked; a note says why.
    Unknown,
    /// Nobody builds it now.
    Free,
    /// Whoever owns this sandbox.
    Held {
        sandbox: String,
        id: String,
        state: SandboxState,
        created_at: Option<DateTime<Utc>>,
        /// As Daytona has them: the holder, its attempt, its last beat.
        labels: BTreeMap<String, String>,
        /// The sandboxes under the target's names before this one, which stick.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        passed_over: Vec<String>,
    },
}

/// Makes the view of what was found out.
pub(super) fn view(facts: TargetFacts, now: DateTime<Utc>) -> ExplainView {
    let state = facts.state.as_ref();
    let looked_up = |prebuild: &PrebuildRecord| {
        let listed = facts.prebuilds.iter().find(|listed| listed.name == prebuild.name);
        PrebuildView::new(prebuild, now).looked_up(listed.and_then(|listed| listed.in_daytona.clone()))
    };
    ExplainView {
        target: facts.target,
        at: now,
        settings: facts.settings,
        settings_from: facts.settings_from,
        gone: state.and_then(|state| state.gone).map(|gone| GoneView::new(gone, facts.patience)),
        prebuild: state.and_then(|state| state.promoted.as_ref()).map(looked_up),
        kept: state.map(|state| state.kept.iter().map(looked_up).collect()).unwrap_or_default(),
        last: state.and_then(|state| state.last.as_ref()).map(LastView::new),
        failing: state.and_then(|state| state.failing.as_ref()).map(|failing| FailingView {
            failure: FailureView::new(&failing.failure),
            commit: failing.commit.clone(),
            since: failing.since,
            count: failing.count,
        }),
        open_dead_letters: state
            .map(|state| state.open_dead_letters.iter().map(|(kind, open)| (*kind, open.job)).collect())
            .unwrap_or_default(),
        attempts: facts.attempts,
        lease: facts.lease,
        base_snapshot: facts.base,
        next_tick: facts.next_tick,
        notes: facts.notes,
    }
}

#[cfg(test)]
mod tests;
