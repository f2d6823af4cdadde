use std::fmt::Write as _;

use super::*;
use crate::{PrebuildRecord, Tick};

fn facts(reason: Reason, attempt: u32) -> DeliveryFacts {
    DeliveryFacts { attempt, job: JobId(uuid::Uuid::nil()), reason, age: Duration::from_secs(5), jitter: 0.0 }
}

fn scheduled() -> Reason {
    Reason::Scheduled { tick: Tick::at_or_before(chrono::DateTime::UNIX_EPOCH, Duration::from_mins(30)) }
}

fn word(decision: &Decision) -> String {
    match decision {
        Decision::Ack => "ack".into(),
        Decision::RetryAfter { delay, next } => format!("retry after {}s, {next:?}", delay.as_secs()),
        Decision::DeadLetter(failure) => format!("dead letter {}", failure.id),
        Decision::HandBack => "hand back".into(),
        Decision::Drop => "drop".into(),
    }
}

#[test]
fn the_table_of_outcomes() {
    let failure = Failure::new(FailureKind::BuildFailed, "x");
    let prebuild = PrebuildRecord::example();
    let other = Some(JobId(uuid::Uuid::max()));
    let own = Some(JobId(uuid::Uuid::nil()));
    let outcomes = [
        Outcome::Built(prebuild.clone()),
        Outcome::Partial { prebuild: prebuild.clone(), failure: failure.clone() },
        Outcome::Unchanged(prebuild),
        Outcome::OverQuota,
        Outcome::StillFailing(failure),
        Outcome::Superseded,
        Outcome::Cancelled,
        Outcome::Paused,
        Outcome::Interrupted,
        Outcome::LeaseLost,
        Outcome::Busy { holder_job: None },
        Outcome::Busy { holder_job: other },
        Outcome::Busy { holder_job: own },
    ];
    let policy = RetryPolicy::example();
    let mut table = String::new();
    for outcome in &outcomes {
        for (name, reason) in
            [("scheduled", scheduled()), ("on demand", Reason::OnDemand), ("replay", Reason::Replay)]
        {
            let decision = decide(outcome, &facts(reason, 1), &policy);
            let holder = if *outcome == (Outcome::Busy { holder_job: own }) {
                " (own)"
            } else if *outcome == (Outcome::Busy { holder_job: other }) {
                " (another job)"
            } else {
                ""
            };
            writeln!(table, "{}{holder}, {name}: {}", outcome.word(), word(&decision)).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_table_of_failures() {
    let policy = RetryPolicy::example();
    let mut table = String::new();
    for kind in FailureKind::ALL {
        for (name, scope) in [("target", Scope::Target), ("shared", Scope::Daytona)] {
            let failed = Outcome::Failed(Failure::new(*kind, "x").with_scope(scope));
            let row: Vec<String> = (1..=3)
                .map(|attempt| word(&decide(&failed, &facts(scheduled(), attempt), &policy)))
                .collect();
            writeln!(table, "{kind} ({:?}, {name}): {}", kind.blame(), row.join(" | ")).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn rabbitmqs_own_faults_use_up_no_attempts() {
    let policy = RetryPolicy::example();
    let failed =
        Outcome::Failed(Failure::new(FailureKind::RegisterUnavailable, "x").with_scope(Scope::Broker));
    for attempt in 1..=9 {
        assert_eq!(word(&decide(&failed, &facts(scheduled(), attempt), &policy)), "retry after 30s, Free");
    }
}

#[test]
fn a_delay_a_service_asks_for_is_rounded_up_to_a_queue() {
    let policy = RetryPolicy::example();
    let limited = |after| {
        Outcome::Failed(
            Failure::new(FailureKind::DaytonaRateLimited, "x").retry_after(Some(Duration::from_secs(after))),
        )
    };
    for (after, expected) in [(1, 30), (30, 30), (45, 120), (7200, 1800)] {
        let decision = decide(&limited(after), &facts(scheduled(), 1), &policy);
        assert_eq!(word(&decision), format!("retry after {expected}s, Free"));
    }
}

#[test]
fn waiting_without_attempts_is_bounded_by_the_age_of_the_job() {
    let policy = RetryPolicy::example();
    let old = DeliveryFacts { age: policy.max_job_age, ..facts(Reason::OnDemand, 1) };
    let no_room = Outcome::Failed(Failure::new(FailureKind::ProvisionNoCapacity, "x"));
    assert_eq!(word(&decide(&no_room, &old, &policy)), "dead letter provision.no_capacity");
    assert_eq!(
        word(&decide(&Outcome::Busy { holder_job: None }, &old, &policy)),
        "dead letter lease.never_free"
    );
}
