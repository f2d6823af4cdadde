use job::{EntryVersion, PrebuildRecord, Target};
use serde_json::json;
use uuid::Uuid;

use super::*;

fn fleet() -> FleetName {
    "demo".parse().unwrap()
}

fn target() -> Target {
    "o/n@main".parse().unwrap()
}

fn prebuild_of(fleet: &str) -> PrebuildRecord {
    PrebuildRecord::example_of(&fleet.parse().unwrap(), &target())
}

fn snapshot(name: &str, state: &str, last_used: Option<DateTime<Utc>>) -> Snapshot {
    serde_json::from_value(json!({ "id": name, "name": name, "state": state, "lastUsedAt": last_used }))
        .unwrap()
}

#[test]
fn only_older_unused_ones_of_exactly_this_fleet_are_collected() {
    let now = Utc::now();
    let hour = TimeDelta::hours(1);
    let foreign = prebuild_of("other");
    let [old, in_use, old_sleeper, going, failed, kept, kept_sleeper, current, in_the_making] =
        std::array::from_fn(|_| prebuild_of("demo"));
    let state = TargetState {
        promotion: Some(EntryVersion::after(None, Uuid::now_v7())),
        promoted: Some(current.clone()),
        kept: vec![kept.clone(), kept_sleeper.clone()],
        newest_promoted: Some(current.attempt),
        ..TargetState::new(target(), now)
    };
    let name = |prebuild: &PrebuildRecord| prebuild.name.to_string();
    let squatter = format!("x{}", name(&old));
    let longer = format!("{}.more", name(&old));
    let sandbox = SandboxName::of(&fleet(), &target()).to_string();
    let all = [
        snapshot(&name(&old), "active", Some(now - hour)),
        snapshot(&name(&in_use), "active", Some(now - TimeDelta::minutes(59))),
        snapshot(&name(&old_sleeper), "inactive", Some(now)),
        snapshot(&name(&going), "removing", None),
        snapshot(&name(&kept), "active", None),
        snapshot(&name(&kept_sleeper), "inactive", Some(now)),
        snapshot(&name(&failed), "error", Some(now)),
        snapshot(&name(&current), "active", None),
        snapshot(&name(&in_the_making), "snapshotting", None),
        snapshot(&name(&foreign), "active", None),
        snapshot(&squatter, "active", None),
        snapshot(&longer, "active", None),
        snapshot(&sandbox, "active", None),
    ];
    let collected = |states: &HashMap<SandboxName, Arc<TargetState>>| -> Vec<(String, Superfluous)> {
        let is_in_use =
            |snapshot: &Snapshot, now| snapshot.last_used_at.is_some_and(|used| now - used < hour);
        let found = select_superfluous(&all, &fleet(), states, is_in_use, now);
        found.iter().map(|found| (found.snapshot.name.clone(), found.why)).collect()
    };
    let states = HashMap::from([(SandboxName::of(&fleet(), &target()), Arc::new(state))]);
    assert_eq!(
        collected(&states),
        [
            (name(&old), Superfluous::Old),
            (name(&old_sleeper), Superfluous::Old),
            (name(&kept_sleeper), Superfluous::Asleep),
            (name(&failed), Superfluous::HalfMade)
        ]
    );
    assert_eq!(collected(&HashMap::new()), [], "what nobody knows anything of is left alone");
}
