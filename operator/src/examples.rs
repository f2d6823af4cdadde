//! States for tests, the same in every run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{
    AttemptId, BuildMode, CloneSettings, Commit, Completeness, Failure, FailureKind, Fingerprint, JobId,
    LastAttempt, OpenDeadLetter, OutcomeWord, PrebuildName, PrebuildRecord, SandboxName, Settings,
    StandingFailure, Target, TargetState,
};

pub(crate) const ATTEMPT: &str = "0068c1d2e3f4g5h6i7j8k9l0m0";

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-23T10:50:00Z".parse().unwrap()
}

pub(crate) fn attempt() -> AttemptId {
    ATTEMPT.parse().unwrap()
}

pub(crate) fn job(number: u8) -> JobId {
    format!("018f6f2e-0000-7000-8000-0000000000{number:02}").parse().unwrap()
}

pub(crate) fn commit(digit: char) -> Commit {
    digit.to_string().repeat(40).parse().unwrap()
}

pub(crate) fn fingerprint(digit: char) -> Fingerprint {
    Fingerprint::from_hex(&digit.to_string().repeat(64)).unwrap()
}

pub(crate) fn target(text: &str) -> Target {
    text.parse().unwrap()
}

pub(crate) fn settings() -> Settings {
    serde_json::from_value(serde_json::json!({
        "clone": CloneSettings {
            url: "https://github.com/acme/service.git".into(),
            user: "x-access-token".into(),
            token_secret: "GITHUB_TOKEN".into(),
        },
        "base_snapshot": "harvest-snapshot",
    }))
    .unwrap()
}

pub(crate) fn prebuild(of: &str, built_at: DateTime<Utc>) -> PrebuildRecord {
    let sandbox = SandboxName::of(&"demo".parse().unwrap(), &target(of));
    PrebuildRecord {
        name: PrebuildName::new(sandbox, &commit('a'), &fingerprint('9'), BuildMode::Cold, attempt()),
        snapshot_id: "snapshot-1".into(),
        commit: commit('a'),
        fingerprint: fingerprint('9'),
        mode: BuildMode::Cold,
        completeness: Completeness::Partial,
        flags: vec!["degraded.lockfile".into()],
        secrets: Some(["NPM_TOKEN".to_owned()].into()),
        attempt: attempt(),
        built_at,
        size_gb: Some(1.5),
        added_bytes: Some(412_345_678),
        cold_start_milliseconds: Some(420),
    }
}

pub(crate) fn failure() -> Failure {
    Failure::new(
        FailureKind::InstallLockfileOutOfSync,
        "package-lock.json lacks left-pad@1.3.0; run npm install",
    )
}

pub(crate) fn state(of: &str) -> TargetState {
    TargetState {
        last: Some(LastAttempt {
            job: job(1),
            attempt: attempt(),
            number: 1,
            outcome: OutcomeWord::Built,
            failure: None,
            commit: Some(commit('a')),
            at: now() - Duration::from_mins(49),
            milliseconds: 182_000,
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        }),
        ..TargetState::new(target(of), now())
    }
}

pub(crate) fn dead_letter(of: &str) -> TargetState {
    let mut state = state(of);
    if let Some(last) = &mut state.last {
        last.outcome = OutcomeWord::Failed;
        last.failure = Some(failure());
    }
    let open = OpenDeadLetter { job: job(1), count: 2, first: now() - Duration::from_hours(5), last: now() };
    state.open_dead_letters.insert(failure().id, open);
    state
}

pub(crate) fn failing(of: &str) -> TargetState {
    let mut state = dead_letter(of);
    state.failing = Some(StandingFailure {
        failure: failure(),
        commit: Some(commit('b')),
        fingerprint: fingerprint('9'),
        secrets: None,
        since: now() - Duration::from_hours(5),
        count: 9,
    });
    state
}
