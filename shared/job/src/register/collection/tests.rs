use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::{
    AttemptId, CapturedPrebuild, EntryVersion, JobId, LastAttempt, OutcomeWord, Revocation, Revoked,
};

/// Attempts that began one after another: what they made is told apart by when.
fn prebuild() -> PrebuildRecord {
    PrebuildRecord::example()
}

fn given(promoted: &PrebuildRecord, kept: &[&PrebuildRecord]) -> TargetState {
    TargetState {
        promotion: Some(EntryVersion::after(None, Uuid::now_v7())),
        promoted: Some(promoted.clone()),
        kept: kept.iter().map(|&kept| kept.clone()).collect(),
        newest_promoted: Some(promoted.attempt),
        ..TargetState::new("o/n@main".parse().unwrap(), Utc::now())
    }
}

fn ended(attempt: AttemptId) -> LastAttempt {
    LastAttempt {
        job: JobId::on_demand(),
        attempt,
        number: 1,
        outcome: OutcomeWord::Failed,
        failure: None,
        commit: None,
        at: Utc::now(),
        milliseconds: 1,
        trace_id: None,
    }
}

use SnapshotCondition::{Failed, Pending, Whole};

#[test]
fn what_is_given_stays_and_the_rest_goes_in_time() {
    let [old, kept, promoted, captured] = std::array::from_fn(|_| prebuild());
    let state = given(&promoted, &[&kept]);
    let now = Utc::now();
    let why = |of: &PrebuildRecord, condition, now| state.superfluous(&of.name, condition, now);
    let later = now + TimeDelta::days(30);
    for stays in [&kept, &promoted] {
        assert_eq!(why(stays, Whole, later), None);
    }
    assert_eq!(why(&old, Whole, now), Some(Superfluous::Old));
    assert_eq!(why(&captured, Whole, now + TimeDelta::hours(47)), None, "its attempt may be at work");
    assert_eq!(why(&captured, Whole, now + TimeDelta::hours(49)), Some(Superfluous::Old));
    assert_eq!(why(&old, Pending, now), None);
    assert_eq!(why(&old, Pending, later), Some(Superfluous::HalfMade));
}

#[test]
fn what_may_be_collected_can_not_be_promoted() {
    let [old, promoted, captured] = std::array::from_fn(|_| prebuild());
    let state = given(&promoted, &[]);
    let now = Utc::now();
    for hours in 0..72 {
        let then = now + TimeDelta::hours(hours);
        for prebuild in [&old, &captured] {
            let collected = state.superfluous(&prebuild.name, Whole, then).is_some();
            assert!(!collected || state.is_overtaken(prebuild.attempt, then), "{hours}");
            // By a clock that is a day behind, too.
            assert!(
                !collected || state.is_overtaken(prebuild.attempt, then - TimeDelta::hours(24)),
                "{hours}"
            );
        }
    }
    assert!(!state.is_overtaken(captured.attempt, now));
    let later = AttemptId::after(Some(captured.attempt));
    assert!(later > captured.attempt);
    let ahead: AttemptId = "zz".repeat(13).parse().unwrap_or(captured.attempt);
    assert!(AttemptId::after(Some(ahead)) > ahead, "a clock that is ahead holds nobody up");
}

#[test]
fn a_failed_capture_goes_once_its_attempt_is_over() {
    let [promoted, captured] = std::array::from_fn(|_| prebuild());
    let state = given(&promoted, &[]);
    let now = Utc::now();
    assert_eq!(state.superfluous(&captured.name, Failed, now), None);
    let later = now + TimeDelta::hours(49);
    assert_eq!(state.superfluous(&captured.name, Failed, later), Some(Superfluous::HalfMade));
    let state = TargetState { last: Some(ended(captured.attempt)), ..state };
    assert_eq!(state.superfluous(&captured.name, Failed, now), Some(Superfluous::HalfMade));
    assert_eq!(state.superfluous(&captured.name, Whole, now), None, "another may take it up");
    assert_eq!(state.superfluous(&promoted.name, Failed, now), None, "that is for the next build to see");
}

#[test]
fn a_register_that_knows_no_promotion_collects_nothing() {
    let [old, promoted] = std::array::from_fn(|_| prebuild());
    let state = TargetState { promotion: None, promoted: None, ..given(&promoted, &[]) };
    for condition in [Whole, Failed, Pending] {
        assert_eq!(state.superfluous(&old.name, condition, Utc::now() + TimeDelta::days(30)), None);
    }
}

#[test]
fn what_was_withdrawn_goes_but_not_what_is_none_of_it() {
    let [withdrawn, captured] = std::array::from_fn(|_| prebuild());
    let now = Utc::now();
    let until = now + TimeDelta::hours(1);
    let revocation = Revocation { of: Revoked::BuiltWith("NPM_TOKEN".to_owned()), until };
    let captured_prebuild = CapturedPrebuild {
        name: captured.name.clone(),
        manifest: String::new(),
        baseline: String::new(),
        secrets: Some(std::collections::BTreeSet::default()),
    };
    let state = TargetState {
        promoted: None,
        captured: Some(captured_prebuild),
        revocations: vec![revocation],
        ..given(&withdrawn, &[])
    };
    assert_eq!(state.superfluous(&withdrawn.name, Whole, now), Some(Superfluous::Withdrawn));
    assert_eq!(state.superfluous(&captured.name, Whole, now), None, "it was given no secret");
    assert_eq!(state.superfluous(&captured.name, Whole, now + TimeDelta::hours(49)), Some(Superfluous::Old));
}
