use job::SandboxName;

use super::*;
use crate::examples::{commit, failing, fingerprint, now, prebuild, state, target};

const TARGET: &str = "acme/service@main";

fn built() -> TargetState {
    let mut newer = prebuild(TARGET, now() - chrono::Duration::hours(1));
    newer.name = name('b', 1);
    newer.snapshot_id = "newer".into();
    newer.commit = commit('b');
    let kept = prebuild(TARGET, now() - chrono::Duration::hours(9));
    TargetState { promoted: Some(newer), kept: vec![kept], ..state(TARGET) }
}

fn name(digit: char, later: u8) -> PrebuildName {
    let sandbox = SandboxName::of(&"demo".parse().unwrap(), &target(TARGET));
    let attempt = format!("0068c1d2e3f4g5h6i7j8k9l0{later}0").parse().unwrap();
    PrebuildName::new(sandbox, &commit(digit), &fingerprint('9'), BuildMode::Warm, attempt)
}

fn seen(id: &str, later: u8, state: SnapshotState) -> PrebuildSnapshot {
    PrebuildSnapshot { id: id.into(), name: name('c', later), state, created_at: Some(now()) }
}

fn register() -> RegisterSays {
    RegisterSays::State(Box::new(built()))
}

fn answer(register: &RegisterSays, daytona: &DaytonaSays) -> Result<(String, bool, Source), String> {
    choose(&target(TARGET), register, daytona, now())
        .map(|view| (view.snapshot_id, view.confirmed, view.source))
        .map_err(|error| error.to_string())
}

#[test]
fn register_and_daytona_agree() {
    let both = DaytonaSays::Snapshots(vec![
        seen("newer", 1, SnapshotState::Active),
        seen("snapshot-1", 0, SnapshotState::Active),
        seen("unpromoted", 9, SnapshotState::Active),
    ]);
    assert_eq!(answer(&register(), &both), Ok(("newer".into(), true, Source::Register)));
    let view = choose(&target(TARGET), &register(), &both, now()).unwrap();
    insta::assert_snapshot!(view.text());
    insta::assert_json_snapshot!(view);
}

#[test]
fn what_daytona_lost_falls_back_to_the_kept_one_then_to_names() {
    let kept = DaytonaSays::Snapshots(vec![
        seen("newer", 1, SnapshotState::Error),
        seen("snapshot-1", 0, SnapshotState::Active),
    ]);
    assert_eq!(answer(&register(), &kept), Ok(("snapshot-1".into(), false, Source::Register)));
    let names = DaytonaSays::Snapshots(vec![
        seen("unverified", 3, SnapshotState::Active),
        seen("other", 0, SnapshotState::Active),
    ]);
    assert_eq!(answer(&register(), &names), Ok(("other".into(), false, Source::DaytonaNames)));
    let error = answer(&register(), &DaytonaSays::Snapshots(Vec::new())).unwrap_err();
    assert!(error.contains("is gone from Daytona") && error.contains("harvestctl submit"), "{error}");
}

#[test]
fn without_daytona_the_register_answers_unconfirmed() {
    for daytona in [DaytonaSays::NoKey, DaytonaSays::Unreachable("no answer".into())] {
        assert_eq!(answer(&register(), &daytona), Ok(("newer".into(), false, Source::Register)));
    }
}

#[test]
fn without_the_register_the_newest_awake_name_is_unconfirmed() {
    let names = DaytonaSays::Snapshots(vec![
        seen("old", 1, SnapshotState::Active),
        seen("new", 2, SnapshotState::Active),
        seen("asleep", 4, SnapshotState::Inactive),
        seen("broken", 5, SnapshotState::Error),
        seen("coming", 6, SnapshotState::Snapshotting),
    ]);
    for register in [RegisterSays::Nothing, RegisterSays::Unreadable("refused".into())] {
        assert_eq!(answer(&register, &names), Ok(("new".into(), false, Source::DaytonaNames)));
        assert!(answer(&register, &DaytonaSays::NoKey).unwrap_err().contains("DAYTONA_API_KEY"));
    }
}

#[test]
fn one_that_sleeps_is_none_and_the_next_best_is_given() {
    let asleep = |others: Vec<PrebuildSnapshot>| {
        let mut all = vec![seen("newer", 1, SnapshotState::Inactive)];
        all.extend(others);
        DaytonaSays::Snapshots(all)
    };
    let kept = asleep(vec![seen("snapshot-1", 0, SnapshotState::Active)]);
    let view = choose(&target(TARGET), &register(), &kept, now()).unwrap();
    assert_eq!((view.snapshot_id.as_str(), view.confirmed), ("snapshot-1", false));
    assert!(view.notes[0].contains("sleeps") && view.notes[0].contains("newest kept"), "{view:?}");
    let by_name = asleep(vec![seen("older", 0, SnapshotState::Active)]);
    let view = choose(&target(TARGET), &register(), &by_name, now()).unwrap();
    assert_eq!((view.snapshot_id.as_str(), view.confirmed), ("older", false));
    assert!(view.notes[0].contains("sleeps"), "{view:?}");
    for none in [asleep(Vec::new()), asleep(vec![seen("snapshot-1", 0, SnapshotState::Inactive)])] {
        let error = answer(&register(), &none).unwrap_err();
        assert!(error.contains("sleeps") && error.contains("harvestctl submit"), "{error}");
    }
    let error = answer(&RegisterSays::Nothing, &asleep(Vec::new())).unwrap_err();
    assert!(error.contains("sleeps"), "{error}");
}

#[test]
fn none_says_why_and_what_to_do() {
    let nothing = DaytonaSays::Snapshots(vec![seen("unverified", 1, SnapshotState::Active)]);
    for (state, expected) in [
        (failing(TARGET), "install.lockfile_out_of_sync"),
        (TargetState::new(target(TARGET), now()), "none was built yet"),
    ] {
        let error = answer(&RegisterSays::State(Box::new(state)), &nothing).unwrap_err();
        assert!(error.contains(expected) && error.contains("harvestctl submit"), "{error}");
    }
}

#[test]
fn what_the_register_lost_is_given_and_nothing_newer() {
    let found = FoundPrebuild { name: name('c', 2), snapshot_id: "found".into(), built_at: Some(now()) };
    let lost = RegisterSays::State(Box::new(TargetState { found: Some(found), ..state(TARGET) }));
    let of_names = |id: &str| Ok((id.to_owned(), false, Source::DaytonaNames));
    let names = DaytonaSays::Snapshots(vec![
        seen("older", 1, SnapshotState::Active),
        seen("found", 2, SnapshotState::Active),
        seen("unverified", 3, SnapshotState::Active),
    ]);
    assert_eq!(answer(&lost, &names), of_names("found"));
    let gone = DaytonaSays::Snapshots(vec![
        seen("older", 1, SnapshotState::Active),
        seen("unverified", 3, SnapshotState::Active),
    ]);
    assert_eq!(answer(&lost, &gone), of_names("older"));
    assert_eq!(answer(&lost, &DaytonaSays::NoKey), of_names("found"));
    assert_eq!(answer(&lost, &DaytonaSays::Unreachable("503".into())), of_names("found"));
    assert!(answer(&lost, &DaytonaSays::Snapshots(Vec::new())).is_err());
}
