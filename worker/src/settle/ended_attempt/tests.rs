use std::collections::BTreeMap;

use job::{
    AttemptId, BuildMode, Commit, Completeness, DeliveryFacts, EntryFormat, EntryVersion, Fingerprint,
    FleetName, Job, PrebuildName, PrebuildRecord, RetryPolicy, SandboxName, Settings, Stage, Target,
    TargetEntry, TargetFold, Writing, decide,
};

use super::*;
use crate::ledger_writer;

struct Case {
    outcome: Outcome,
    facts: AttemptFacts,
}

impl Case {
    fn failed(id: FailureKind) -> Self {
        let failure = Failure::new(id, "it failed").with_output(Some(1), Tail::of("a long log"));
        Self::of(Outcome::Failed(failure))
    }

    fn of(outcome: Outcome) -> Self {
        let facts = AttemptFacts {
            commit: Some("a".repeat(40).parse::<Commit>().unwrap()),
            fingerprint: Fingerprint::from_hex(&"9".repeat(64)),
            failure: outcome.failure().cloned(),
            ..AttemptFacts::default()
        };
        Self { outcome, facts }
    }

    /// What is done with a dead letter, and the state that comes of what was known and what is noted of this.
    fn after(&self, known: Option<&TargetFold>) -> (DeadLetterUse, Option<TargetFold>) {
        let attempt = third_attempt();
        let delivered = DeliveryFacts {
            attempt: attempt.number,
            job: attempt.job.id,
            reason: attempt.job.reason,
            age: Duration::ZERO,
            jitter: 0.0,
        };
        let ended = EndedAttempt {
            attempt: &attempt,
            outcome: &self.outcome,
            decision: decide(&self.outcome, &delivered, &RetryPolicy::example()),
            facts: self.facts.clone(),
            took: Duration::from_secs(1),
            at: Utc::now(),
            trace_id: None,
            traceparent: None,
        };
        let state = known.map(TargetFold::state);
        let used = ended.dead_letter_use(state.as_ref());
        let notes = ended.notes(state.as_ref());
        let target = &attempt.job.target;
        let known = (!notes.is_empty()).then(|| {
            let known = known.cloned().unwrap_or_else(|| TargetFold::new(target.clone()));
            notes.into_iter().fold(known, |mut fold, about| {
                let version = EntryVersion::after(fold.newest(), uuid::Uuid::now_v7());
                let (format, writing) = (EntryFormat::PerConcern, Writing::First);
                fold.fold(TargetEntry { format, target: target.clone(), version, writing, about });
                fold
            })
        });
        (used, known)
    }
}

fn third_attempt() -> Attempt {
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "clone": {"url": "https://github.com/owner/name.git"},
        "base_snapshot": "base",
    }))
    .unwrap();
    let fleet: FleetName = "demo".parse().unwrap();
    let target: Target = "owner/name@main".parse().unwrap();
    let job = Job::on_demand(&fleet, &target, &settings, None);
    let envelope = Envelope { attempt: 3, ..Envelope::first(Utc::now(), BTreeMap::new()) };
    let (ledger, _unread) = ledger_writer::open("worker-1", Duration::from_mins(1));
    Attempt::new(AttemptId::new(), job, envelope, "worker-1", 3, ledger)
}

#[test]
fn a_permanent_failure_stands_and_a_second_letter_is_counted() {
    let case = Case::failed(FailureKind::InstallPackageMissing);
    let (used, first) = case.after(None);
    assert_eq!(used, DeadLetterUse::Queue);
    let standing = first.as_ref().unwrap().state().failing.unwrap();
    assert_eq!((standing.count, standing.failure.stage), (1, Stage::Install));
    assert!(standing.failure.log_tail.is_empty(), "logs stay in the ledger");

    let (used, second) = case.after(first.as_ref());
    let second = second.unwrap().state();
    assert_eq!(used, DeadLetterUse::Count);
    assert_eq!(second.open_dead_letters[&FailureKind::InstallPackageMissing].count, 2);
    assert_eq!(second.failing.unwrap().count, 2);
}

#[test]
fn another_failure_of_a_target_is_a_dead_letter_of_its_own() {
    let (_, state) = Case::failed(FailureKind::InstallPackageMissing).after(None);
    let (used, state) = Case::failed(FailureKind::InstallRegistryUnavailable).after(state.as_ref());
    assert_eq!(used, DeadLetterUse::Queue);
    let state = state.unwrap().state();
    assert_eq!(state.open_dead_letters.len(), 2);
    assert_eq!(
        state.failing.unwrap().failure.id,
        FailureKind::InstallPackageMissing,
        "only a repository's failure stands"
    );
}

fn prebuild() -> PrebuildRecord {
    let (commit, attempt) = ("a".repeat(40).parse().unwrap(), AttemptId::new());
    let fingerprint = Fingerprint::from_hex(&"9".repeat(64)).unwrap();
    let sandbox = SandboxName::of(&"demo".parse().unwrap(), &"owner/name@main".parse().unwrap());
    let name = PrebuildName::new(sandbox, &commit, &fingerprint, BuildMode::Cold, attempt);
    serde_json::from_value(serde_json::json!({
        "name": name, "snapshot_id": "id", "commit": commit, "fingerprint": fingerprint, "mode": BuildMode::Cold,
        "completeness": Completeness::Complete, "attempt": attempt, "built_at": Utc::now(),
    }))
    .unwrap()
}

#[test]
fn a_sandbox_lost_after_install_is_noted_until_a_good_build() {
    let lost_at = |stage| {
        let failure = Failure::new(FailureKind::SandboxLost, "it is gone").at(stage);
        Case::of(Outcome::Failed(failure)).after(None).1.unwrap()
    };
    let toolchain = lost_at(Stage::Toolchain).state();
    assert_eq!(toolchain.lost_sandbox, None, "nothing of the repository's had run");
    let noted = lost_at(Stage::Install);
    let lost = noted.state().lost_sandbox.unwrap();
    assert_eq!((lost.commit.as_str(), lost.at), (&*"a".repeat(40), noted.state().last.unwrap().at));
    let (_, other) = Case::failed(FailureKind::BuildNetwork).after(Some(&noted));
    assert_eq!(other.unwrap().state().lost_sandbox, Some(lost), "another failure forgets nothing");
    let (_, built) = Case::of(Outcome::Built(prebuild())).after(Some(&noted));
    assert_eq!(built.unwrap().state().lost_sandbox, None);
}

#[test]
fn what_changed_nothing_writes_nothing() {
    for outcome in [
        Outcome::Superseded,
        Outcome::Busy { holder_job: None },
        Outcome::Interrupted,
        Outcome::LeaseLost,
        Outcome::Paused,
    ] {
        let case = Case::of(outcome);
        assert_eq!(case.after(None).1, None, "{:?}", case.outcome);
    }
}
