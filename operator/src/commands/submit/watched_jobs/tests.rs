use job::{Failure, FailureKind, NextAttempt, NoOp, StageReport};

use super::*;
use crate::commands::submit::view::line;
use crate::examples::{attempt, dead_letter, job, now, state, target};

fn entry(event: LedgerEvent) -> LedgerEntry {
    LedgerEntry::new(now(), "worker-1", event).in_trace(Some("0af7".into()))
}

fn end(number: u8, outcome: OutcomeWord, decision: &str) -> AttemptEnd {
    let failed = outcome == OutcomeWord::Failed;
    AttemptEnd {
        job: job(number),
        target: target("acme/service@main"),
        attempt: AttemptId::new(),
        number: 2,
        max_attempts: 3,
        outcome,
        decision: decision.into(),
        retry_milliseconds: (decision == "retry").then_some(120_000),
        next: (decision == "retry").then_some(NextAttempt::Counted),
        failure: failed
            .then(|| Failure::new(FailureKind::InstallRegistryUnavailable, "registry answered 503")),
        commit: None,
        prebuild: None,
        stages: Vec::new(),
        milliseconds: 3_500,
    }
}

fn ended(number: u8, outcome: OutcomeWord, decision: &str) -> LedgerEntry {
    entry(LedgerEvent::AttemptEnded(Box::new(end(number, outcome, decision))))
}

fn watched() -> WatchedJobs {
    WatchedJobs::new([(job(1), target("acme/service@main")), (job(2), target("acme/web@main"))])
}

#[test]
fn every_step_is_a_line_that_reads_alone() {
    let mut jobs = watched();
    let report =
        StageReport { stage: Stage::Install, result: "ok".into(), milliseconds: 12_000, added_bytes: None };
    let started = LedgerEvent::AttemptStarted {
        job: job(1),
        target: target("acme/service@main"),
        attempt: attempt(),
        number: 1,
        max_attempts: 3,
    };
    let stage = LedgerEvent::StageEnded {
        job: job(1),
        target: target("acme/service@main"),
        attempt: attempt(),
        report,
    };
    let entries = [
        entry(started),
        entry(stage),
        ended(1, OutcomeWord::Failed, "retry"),
        ended(1, OutcomeWord::Interrupted, "hand_back"),
        ended(1, OutcomeWord::Failed, "dead_letter"),
        ended(2, OutcomeWord::Built, "ack"),
    ];
    let lines: Vec<String> =
        entries.iter().flat_map(|entry| jobs.read_entry(entry)).map(|step| line(&step)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    acme/service@main  attempt 1/3  started
    acme/service@main    install ok 12s
    acme/service@main  attempt 2/3  failed install.registry_unavailable (registry answered 503); next try in 2m
    acme/service@main  attempt 2/3  interrupted in 3s; another worker goes on
    acme/service@main  attempt 2/3  failed install.registry_unavailable (registry answered 503); dead letter: harvestctl dead-letters list
    acme/web@main  attempt 2/3  built in 3s
    ");
    assert!(jobs.have_all_ended());
    let summary = jobs.summarise();
    assert_eq!(
        (summary.succeeded.len(), summary.failed, summary.total),
        (1, vec![target("acme/service@main")], 2)
    );
}

#[test]
fn what_comes_twice_is_reported_once_and_others_jobs_never() {
    let mut jobs = watched();
    let first = ended(1, OutcomeWord::Failed, "retry");
    assert_eq!(jobs.read_entry(&first).len(), 1);
    assert_eq!(jobs.read_entry(&first), []);
    assert_eq!(jobs.read_entry(&ended(9, OutcomeWord::Built, "ack")), []);
    assert!(!jobs.have_all_ended());
}

#[test]
fn only_the_last_attempt_ends_a_job() {
    for (decision, is_over) in
        [("ack", true), ("dead_letter", true), ("retry", false), ("hand_back", false), ("drop", false)]
    {
        let mut jobs = WatchedJobs::new([(job(1), target("acme/service@main"))]);
        jobs.read_entry(&ended(1, OutcomeWord::Failed, decision));
        assert_eq!(jobs.have_all_ended(), is_over, "{decision}");
    }
}

#[test]
fn an_end_may_come_in_a_batch() {
    let mut jobs = watched();
    let no_op =
        |number| NoOp { job: job(number), target: target("o/n@main"), outcome: OutcomeWord::Unchanged };
    let batch = entry(LedgerEvent::NoOps { jobs: vec![no_op(1), no_op(2), no_op(3)] });
    assert_eq!(jobs.read_entry(&batch).len(), 2);
    assert_eq!(jobs.read_entry(&batch), []);
    assert!(jobs.summarise().is_success());
}

#[test]
fn the_register_ends_what_the_ledger_forgot_but_never_a_retry() {
    let mut jobs = watched();
    let mut retried = dead_letter("acme/service@main");
    retried.open_dead_letters.clear();
    assert_eq!(jobs.read_state(&retried), [], "a failed attempt may have another after it");
    assert_eq!(jobs.read_state(&dead_letter("acme/service@main")).len(), 1);
    assert_eq!(jobs.read_state(&state("acme/service@main")), [], "it has ended");
    assert_eq!(jobs.list_open(), [target("acme/web@main")]);
    assert_eq!(jobs.summarise().unknown, [target("acme/web@main")]);
}
