use std::time::Duration;

use super::*;

const SIZE: Size = Size { cpu: 4.0, memory_gb: 8.0, disk_gb: 10.0 };

fn quota() -> QuotaSection {
    QuotaSection {
        sandboxes: 0,
        cpu: 0,
        memory_gb: 0,
        disk_gb: 0,
        snapshots: 0,
        reserve_for_sessions: 2,
        reserve_snapshots: 2,
        count: Duration::from_secs(30),
    }
}

fn judge(quota: QuotaSection, largest: Option<Size>) -> Holding {
    let need = Need { targets: 10, prebuilds: 20, largest };
    Holding::judge(need, &quota, &AccountState::default(), Utc::now())
}

#[test]
fn a_fleet_is_held_against_every_limit_that_is_known() {
    assert!(matches!(judge(quota(), Some(SIZE)), Holding::Unknown(_)));
    let snapshots = |snapshots| judge(QuotaSection { snapshots, ..quota() }, None);
    assert!(matches!(snapshots(23), Holding::Enough(_)), "20, one being made, and two of others");
    assert!(matches!(snapshots(22), Holding::TooLittle(_)));
    let cpu = |cpu| judge(QuotaSection { cpu, ..quota() }, Some(SIZE));
    assert_eq!(cpu(20), Holding::Enough("vCPU: 3 builds at once of [quota] cpu 20".to_owned()));
    assert!(matches!(cpu(11), Holding::TooLittle(_)));
    assert!(
        matches!(judge(QuotaSection { cpu: 11, ..quota() }, None), Holding::Unknown(_)),
        "no size is known"
    );
    let both = judge(QuotaSection { cpu: 11, snapshots: 1, ..quota() }, Some(SIZE));
    assert!(matches!(both, Holding::TooLittle(sentences) if sentences.len() == 2));
}
