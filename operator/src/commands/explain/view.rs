//! Everything about one target, in words. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daytona::SandboxState;
use job::{
    AttemptEnd, AttemptId, Commit, FailureKind, JobId, LedgerEntry, LedgerEvent, OutcomeWord, Settings,
    StageReport, Target, TargetState,
};
use serde::Serialize;

use super::next_tick::NextTick;
use crate::terminal::{View, labelled, table};
use crate::time::{ago, at, length};
use crate::views::{FailureView, LastView, PrebuildView};

/// How many attempts are told.
pub(super) const ATTEMPTS: usize = 10;

/// What is known.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) target: Target,
    pub(super) settings: Option<Settings>,
    pub(super) settings_from: String,
    pub(super) state: Option<TargetState>,
    pub(super) attempts: Vec<AttemptView>,
    pub(super) lease: Lease,
    pub(super) base: Option<BaseView>,
    pub(super) next_tick: NextTick,
    pub(super) notes: Vec<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct ExplainView {
    target: Target,
    at: DateTime<Utc>,
    /// None when fleet.toml does not have it.
    settings: Option<Settings>,
    settings_from: String,
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
    /// Nobody.
    Free,
    /// Whoever owns this sandbox.
    Held {
        sandbox: String,
        id: String,
        state: SandboxState,
        created_at: Option<DateTime<Utc>>,
        /// As Daytona has them: the holder, its attempt, its last beat.
        labels: BTreeMap<String, String>,
    },
}

/// What to show.
pub(super) fn view(known: Known, now: DateTime<Utc>) -> ExplainView {
    let state = known.state.as_ref();
    ExplainView {
        target: known.target,
        at: now,
        settings: known.settings,
        settings_from: known.settings_from,
        prebuild: state
            .and_then(|state| state.promoted.as_ref())
            .map(|prebuild| PrebuildView::new(prebuild, now)),
        kept: state
            .map(|state| state.kept.iter().map(|prebuild| PrebuildView::new(prebuild, now)).collect())
            .unwrap_or_default(),
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
        attempts: known.attempts,
        lease: known.lease,
        base_snapshot: known.base,
        next_tick: known.next_tick,
        notes: known.notes,
    }
}

impl View for ExplainView {
    fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.target);
        let mut rows = vec![("next tick", self.next_tick.sentence()), ("prebuild", self.prebuild())];
        if !self.kept.is_empty() {
            let kept: Vec<&str> = self.kept.iter().map(|kept| kept.name.as_str()).collect();
            rows.push(("kept", kept.join("\n")));
        }
        rows.push((
            "last outcome",
            self.last.as_ref().map_or("none yet".to_owned(), |last| last.sentence(self.at)),
        ));
        if let Some(failing) = &self.failing {
            let commit = failing.commit.as_ref().map_or("no commit", Commit::short);
            let since = at(failing.since, self.at);
            rows.push((
                "stands",
                format!(
                    "{} at {commit} since {since}, met {} times\n{}",
                    failing.failure.id, failing.count, failing.failure.message
                ),
            ));
        }
        let letters = self.open_dead_letters.iter();
        rows.extend(letters.map(|(kind, job)| {
            ("dead letter", format!("{kind}, job {job}: harvestctl dead-letters show {job}"))
        }));
        rows.push(("lease", self.lease()));
        if let Some(base) = &self.base_snapshot {
            rows.push(("base", format!("{} ({})", base.name, base.id)));
        }
        rows.push(("settings", self.settings()));
        rows.extend(self.notes.iter().map(|note| ("note", note.clone())));
        text.push_str(&labelled(rows));
        text.push_str(&self.attempts());
        text
    }
}

impl ExplainView {
    fn prebuild(&self) -> String {
        let Some(prebuild) = &self.prebuild else { return "none".to_owned() };
        let mut lines = vec![
            prebuild.name.clone(),
            format!("commit {}, built {}", prebuild.commit_short(), at(prebuild.built_at, self.at)),
            prebuild.quality(),
        ];
        let cold_start = prebuild.cold_start_milliseconds.map(|started| format!("started in {started}ms"));
        let size = prebuild.size_gb.map(|size| format!("{size} GB"));
        let facts: Vec<String> = size.into_iter().chain(cold_start).collect();
        if !facts.is_empty() {
            lines.push(facts.join(", "));
        }
        lines.push(
            "its recipe and tools: /workspace/.harvest/manifest.json in a sandbox started from it".to_owned(),
        );
        lines.join("\n")
    }

    fn lease(&self) -> String {
        let Lease::Held { sandbox, id, state, created_at, labels } = &self.lease else {
            let word = if let Lease::Free = self.lease { "free" } else { "unknown" };
            return word.to_owned();
        };
        let created = created_at.map(|then| format!(", made {}", ago(then, self.at))).unwrap_or_default();
        let labels = labels.iter().map(|(key, value)| format!("{key} = {value}"));
        let first = format!("{sandbox} ({id}) is {state}{created}");
        std::iter::once(first).chain(labels).collect::<Vec<_>>().join("\n")
    }

    fn settings(&self) -> String {
        let Some(settings) = &self.settings else { return format!("not in {}", self.settings_from) };
        let value = serde_json::to_value(settings).unwrap_or_default();
        let mut lines = vec![format!("from {}, defaults applied", self.settings_from)];
        lines.extend(value.as_object().into_iter().flatten().map(|(key, value)| format!("{key} = {value}")));
        lines.join("\n")
    }

    fn attempts(&self) -> String {
        if self.attempts.is_empty() {
            return "\nno attempts in the ledger (it is kept for a week)\n".to_owned();
        }
        let row = |attempt: &AttemptView| {
            let failure =
                attempt.failure.as_ref().map(|f| format!(" {} at {}", f.id, f.stage)).unwrap_or_default();
            [
                ago(attempt.at, self.at),
                format!("{}/{}", attempt.number, attempt.max_attempts),
                format!("{}{failure}", attempt.outcome),
                attempt.decision.clone(),
                attempt.commit.as_ref().map_or("-", Commit::short).to_owned(),
                took(attempt.milliseconds),
                stages(&attempt.stages),
                attempt.trace_id.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        };
        let header = ["ENDED", "ATTEMPT", "OUTCOME", "DECISION", "COMMIT", "TOOK", "STAGES", "TRACE"];
        format!("\n{}", table(header, self.attempts.iter().map(row)))
    }
}

fn stages(stages: &[StageReport]) -> String {
    let told = stages.iter().map(|report| {
        let result = if report.result == "ok" { String::new() } else { format!(" {}", report.result) };
        format!("{}{result} {}", report.stage, took(report.milliseconds))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}

fn took(milliseconds: u64) -> String {
    length(std::time::Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use job::Stage;

    use super::*;
    use crate::examples::{attempt, commit, failing, failure, job, now, prebuild, settings, target};

    const TARGET: &str = "acme/service@main";

    fn known() -> Known {
        let end = AttemptEnd {
            job: job(1),
            target: target(TARGET),
            attempt: attempt(),
            number: 1,
            max_attempts: 3,
            outcome: OutcomeWord::Failed,
            decision: "dead_letter".into(),
            retry_milliseconds: None,
            next: None,
            failure: Some(failure()),
            commit: Some(commit('b')),
            prebuild: None,
            stages: vec![
                StageReport { stage: Stage::Resolve, result: "ok".into(), milliseconds: 300 },
                StageReport { stage: Stage::Install, result: failure().id.to_string(), milliseconds: 41_000 },
            ],
            milliseconds: 41_300,
        };
        let event = LedgerEvent::AttemptEnded(Box::new(end));
        let entry = LedgerEntry::new(now() - chrono::Duration::hours(1), "worker-1", event)
            .in_trace(Some("0af7651916cd43dd8448eb211c80319c".into()));
        assert!(AttemptView::of(&entry, &target("acme/other@main")).is_none());
        let mut state = failing(TARGET);
        state.promoted = Some(prebuild(TARGET, now() - chrono::Duration::days(2)));
        Known {
            target: target(TARGET),
            settings: Some(settings()),
            settings_from: "config/fleet.toml".into(),
            state: Some(state),
            attempts: AttemptView::of(&entry, &target(TARGET)).into_iter().collect(),
            lease: Lease::Held {
                sandbox: "hv.demo.service.0123456789ab".into(),
                id: "sandbox-1".into(),
                state: SandboxState::Started,
                created_at: Some(now() - chrono::Duration::minutes(3)),
                labels: [("harvest.holder".to_owned(), "worker-2".to_owned())].into(),
            },
            base: Some(BaseView { name: "harvest-snapshot.3f2a91c".into(), id: "base-1".into() }),
            next_tick: NextTick::StillFailing { failure: failure().id, message: failure().message },
            notes: vec!["RabbitMQ is slow".into()],
        }
    }

    #[test]
    fn everything_is_told() {
        insta::assert_snapshot!(view(known(), now()).text());
        insta::assert_json_snapshot!(view(known(), now()));
    }

    #[test]
    fn an_unknown_target_has_little_to_tell() {
        let nothing = Known {
            settings: None,
            state: None,
            attempts: Vec::new(),
            lease: Lease::Free,
            base: None,
            next_tick: NextTick::NotListed,
            notes: Vec::new(),
            ..known()
        };
        insta::assert_snapshot!(view(nothing, now()).text());
    }
}
