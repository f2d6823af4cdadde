use job::{AttemptId, BuildMode, Commit, Fingerprint};

use super::*;

fn name() -> SandboxName {
    SandboxName::of(&"demo".parse().unwrap(), &"o/n@main".parse().unwrap())
}

fn prebuild(completeness: Completeness) -> PrebuildRecord {
    let commit: Commit = "a".repeat(40).parse().unwrap();
    let fingerprint = Fingerprint::from_hex(&"9".repeat(64)).unwrap();
    let attempt = AttemptId::new();
    PrebuildRecord {
        name: PrebuildName::new(name(), &commit, &fingerprint, BuildMode::Cold, attempt),
        snapshot_id: attempt.to_string(),
        commit,
        fingerprint,
        mode: BuildMode::Cold,
        completeness,
        flags: Vec::new(),
        secrets: None,
        attempt,
        built_at: Utc::now(),
        size_gb: None,
        cold_start_milliseconds: None,
    }
}

fn snapshot(prebuild: &PrebuildRecord, last_used: Option<DateTime<Utc>>) -> Snapshot {
    serde_json::from_value(serde_json::json!({
        "id": prebuild.snapshot_id, "name": prebuild.name.to_string(), "state": "active", "lastUsedAt": last_used,
    }))
    .unwrap()
}

fn nothing_known() -> TargetState {
    TargetState::new("o/n@main".parse().unwrap(), Utc::now())
}

fn promote(state: TargetState, prebuild: PrebuildRecord, keep: u32) -> TargetState {
    let Promotion { promoted, kept, .. } = promotion(&state, prebuild, keep);
    TargetState { promoted: Some(promoted), kept, ..state }
}

#[test]
fn the_newest_and_the_last_complete_prebuild_are_kept() {
    let complete = prebuild(Completeness::Complete);
    let mut state = nothing_known();
    state = promote(state, complete.clone(), 2);
    let partials: Vec<_> = (0..3).map(|_| prebuild(Completeness::Partial)).collect();
    for partial in &partials {
        state = promote(state, partial.clone(), 2);
    }
    assert_eq!(state.promoted.as_ref(), Some(&partials[2]));
    assert_eq!(state.kept, [partials[1].clone(), complete]);

    let newest = prebuild(Completeness::Complete);
    state = promote(state, newest.clone(), 2);
    assert_eq!(state.promoted.as_ref(), Some(&newest));
    assert_eq!(state.kept, [partials[2].clone()]);
}

#[test]
fn promoting_a_kept_one_again_does_not_double_it() {
    let (first, second) = (prebuild(Completeness::Complete), prebuild(Completeness::Complete));
    let mut state = nothing_known();
    for prebuild in [&first, &second, &first] {
        state = promote(state, prebuild.clone(), 2);
    }
    assert_eq!((state.promoted, state.kept), (Some(first), vec![second]));
}

#[test]
fn only_older_unused_ones_of_exactly_this_target_are_collected() {
    let now = Utc::now();
    let hour = Duration::hours(1);
    let old = prebuild(Completeness::Complete);
    let in_use = prebuild(Completeness::Complete);
    let current = prebuild(Completeness::Complete);
    let in_the_making = prebuild(Completeness::Complete);
    let state = promote(nothing_known(), current.clone(), 1);
    let foreign = Snapshot { name: "somebody-elses".into(), ..snapshot(&old, None) };
    let all = [
        snapshot(&old, Some(now - hour)),
        snapshot(&in_use, Some(now - Duration::minutes(59))),
        snapshot(&current, None),
        snapshot(&in_the_making, None),
        foreign,
    ];
    let collected: Vec<&str> =
        select_superfluous(&all, &name(), &state, hour, now).iter().map(|s| s.name.as_str()).collect();
    assert_eq!(collected, [old.name.to_string()]);
    assert!(select_superfluous(&all, &name(), &nothing_known(), hour, now).is_empty());
}
