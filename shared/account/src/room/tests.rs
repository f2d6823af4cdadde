use std::time::Duration;

use job::AccountEntry;

use super::*;

fn quota() -> QuotaSection {
    QuotaSection {
        sandboxes: 0,
        cpu: 0,
        memory_gb: 0,
        disk_gb: 0,
        snapshots: 0,
        reserve_for_sessions: 0,
        reserve_snapshots: 0,
        count: Duration::from_secs(30),
    }
}

const SIZE: Size = Size { cpu: 2.0, memory_gb: 4.0, disk_gb: 10.0 };

/// This many sandboxes of that size, and this many snapshots.
fn used(sandboxes: f64, snapshots: f64) -> FleetUse {
    FleetUse {
        sandboxes,
        cpu: sandboxes * SIZE.cpu,
        memory_gb: sandboxes * SIZE.memory_gb,
        disk_gb: sandboxes * SIZE.disk_gb,
        snapshots,
    }
}

fn met(resource: Resource, maximum: Option<f64>, fleet_had: f64, at: DateTime<Utc>) -> AccountState {
    let mut account = AccountState::default();
    account.fold(AccountEntry::LimitMet(LimitMet { resource, maximum, fleet_had, at }));
    account
}

fn lack(used: &FleetUse, quota: &QuotaSection, account: &AccountState, now: DateTime<Utc>) -> Option<Lack> {
    room_for(SIZE, Purpose::Build, used, quota, account, now).err().map(|full| full.lack)
}

#[test]
fn nothing_is_full_where_no_limit_is_known() {
    assert_eq!(lack(&used(1000.0, 1000.0), &quota(), &AccountState::default(), Utc::now()), None);
}

#[test]
fn each_limit_holds_with_what_is_reserved() {
    let (nothing, now) = (AccountState::default(), Utc::now());
    let check = |quota: QuotaSection, sandboxes: f64, snapshots: f64, expected: Option<Lack>| {
        assert_eq!(
            lack(&used(sandboxes, snapshots), &quota, &nothing, now),
            expected,
            "{quota:?} {sandboxes}"
        );
    };
    check(QuotaSection { sandboxes: 3, ..quota() }, 2.0, 0.0, None);
    check(QuotaSection { sandboxes: 3, ..quota() }, 3.0, 0.0, Some(Lack::Sandbox));
    for full in [
        QuotaSection { cpu: 10, ..quota() },
        QuotaSection { memory_gb: 20, ..quota() },
        QuotaSection { disk_gb: 50, ..quota() },
    ] {
        check(full, 4.0, 0.0, None);
        check(full, 5.0, 0.0, Some(Lack::Sandbox));
        let reserved = QuotaSection { reserve_for_sessions: 2, ..full };
        check(reserved, 2.0, 0.0, None);
        check(reserved, 3.0, 0.0, Some(Lack::Sandbox));
        // One build at a time is always tried: a reserve as large as the limit would stop the fleet for good.
        let all_reserved = QuotaSection { reserve_for_sessions: 5, ..full };
        check(all_reserved, 0.0, 0.0, None);
        check(all_reserved, 1.0, 0.0, Some(Lack::Sandbox));
    }
    let snapshots = QuotaSection { snapshots: 30, reserve_snapshots: 2, ..quota() };
    check(snapshots, 0.0, 27.0, None);
    check(snapshots, 0.0, 28.0, Some(Lack::Snapshot));
    // What is being built becomes a snapshot too; once it is, an old one goes: so it is waited for, and not given up.
    check(snapshots, 1.0, 27.0, Some(Lack::Sandbox));
    check(snapshots, 1.0, 26.0, None);
}

#[test]
fn a_limit_that_was_met_waits_for_something_given_back() {
    let now = Utc::now();
    let cpu = |at| met(Resource::Cpu, None, 8.0, at);
    assert_eq!(lack(&used(4.0, 0.0), &quota(), &cpu(now), now), Some(Lack::Sandbox));
    assert_eq!(lack(&used(3.0, 0.0), &quota(), &cpu(now), now), None, "the fleet gave one back");
    assert_eq!(lack(&used(4.0, 0.0), &quota(), &cpu(now - SANDBOXES_HOLD), now), None, "others may have");
    let ahead = now + TimeDelta::hours(1);
    assert_eq!(lack(&used(4.0, 0.0), &quota(), &cpu(ahead), now), None, "a clock was wrong");
    let snapshots = |at| met(Resource::Snapshots, None, 30.0, at);
    let minutes = now - TimeDelta::minutes(9);
    assert_eq!(lack(&used(0.0, 30.0), &quota(), &snapshots(minutes), now), Some(Lack::Snapshot));
    assert_eq!(lack(&used(0.0, 29.0), &quota(), &snapshots(minutes), now), None, "one was collected");
    assert_eq!(lack(&used(0.0, 30.0), &quota(), &snapshots(now - SNAPSHOTS_HOLD), now), None);
}

#[test]
fn a_number_that_daytona_named_is_believed_for_an_hour() {
    let now = Utc::now();
    let named = |maximum, age| met(Resource::Cpu, Some(maximum), 1000.0, now - age);
    let (soon, late) = (TimeDelta::minutes(30), NUMBER_BELIEVED);
    assert_eq!(lack(&used(5.0, 0.0), &quota(), &named(10.0, soon), now), Some(Lack::Sandbox));
    assert_eq!(lack(&used(5.0, 0.0), &quota(), &named(10.0, late), now), None);
    let set = QuotaSection { cpu: 100, ..quota() };
    assert_eq!(lack(&used(5.0, 0.0), &set, &named(10.0, soon), now), Some(Lack::Sandbox), "less than set");
    let set = QuotaSection { cpu: 10, ..quota() };
    assert_eq!(lack(&used(5.0, 0.0), &set, &named(100.0, soon), now), Some(Lack::Sandbox), "set is less");
    let said = room_for(SIZE, Purpose::Build, &used(5.0, 0.0), &quota(), &named(10.0, soon), now)
        .unwrap_err()
        .to_string();
    assert_eq!(said, "the fleet has 10 vCPU of 10, which Daytona named, and 0 are left to sessions");
}

#[test]
fn what_is_captured_already_needs_no_other_snapshot() {
    let now = Utc::now();
    let full = QuotaSection { snapshots: 10, ..quota() };
    let nothing = AccountState::default();
    let room = |purpose| room_for(SIZE, purpose, &used(0.0, 10.0), &full, &nothing, now);
    assert!(room(Purpose::Build).is_err() && room(Purpose::Verify).is_ok());
    let met = met(Resource::Snapshots, None, 10.0, now);
    let room = |purpose| room_for(SIZE, purpose, &used(0.0, 10.0), &quota(), &met, now);
    assert!(room(Purpose::Build).is_err() && room(Purpose::Verify).is_ok());
}
