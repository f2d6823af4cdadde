use job::Stage;

use super::*;
use crate::commands::prebuilds::list;
use crate::examples::{attempt, commit, failing, failure, job, now, prebuild, settings, target};
use crate::output::View;

const TARGET: &str = "acme/service@main";

fn facts() -> TargetFacts {
    let end = AttemptEnd {
        job: job(1),
        target: target(TARGET),
        attempt: attempt(),
        number: 1,
        max_attempts: 3,
        outcome: OutcomeWord::Failed,
        decision: "dead_letter".into(),
        retry_milliseconds: None,
        next: None,
        failure: Some(failure()),
        commit: Some(commit('b')),
        prebuild: None,
        stages: vec![
            StageReport {
                stage: Stage::Resolve,
                result: "ok".into(),
                milliseconds: 300,
                added_bytes: Some(-1_250_000),
            },
            StageReport {
                stage: Stage::Install,
                result: failure().id.to_string(),
                milliseconds: 41_000,
                added_bytes: None,
            },
        ],
        milliseconds: 41_300,
    };
    let event = LedgerEvent::AttemptEnded(Box::new(end));
    let entry = LedgerEntry::new(now() - chrono::Duration::hours(1), "worker-1", event)
        .in_trace(Some("0af7651916cd43dd8448eb211c80319c".into()));
    assert!(AttemptView::of(&entry, &target("acme/other@main")).is_none());
    let mut state = failing(TARGET);
    state.promoted = Some(prebuild(TARGET, now() - chrono::Duration::days(2)));
    let mut prebuilds = list(&state, now());
    prebuilds[0].in_daytona = Some("active".to_owned());
    TargetFacts {
        target: target(TARGET),
        settings: Some(settings()),
        settings_from: "config/fleet.toml".into(),
        state: Some(state),
        attempts: AttemptView::of(&entry, &target(TARGET)).into_iter().collect(),
        lease: Lease::Held {
            sandbox: "hv.demo.service.0123456789ab".into(),
            id: "sandbox-1".into(),
            state: SandboxState::Started,
            created_at: Some(now() - chrono::Duration::minutes(3)),
            labels: [("harvest.holder".to_owned(), "worker-2".to_owned())].into(),
            passed_over: Vec::new(),
        },
        base: Some(BaseView { name: "harvest-snapshot.3f2a91c".into(), id: "base-1".into() }),
        prebuilds,
        patience: chrono::Duration::days(7),
        next_tick: NextTick::StillFailing { failure: failure().id, message: failure().message },
        notes: vec!["RabbitMQ is slow".into()],
    }
}

#[test]
fn everything_is_shown() {
    insta::assert_snapshot!(view(facts(), now()).text());
    insta::assert_json_snapshot!(view(facts(), now()));
}

#[test]
fn an_unknown_target_has_little_to_show() {
    let nothing = TargetFacts {
        settings: None,
        state: None,
        attempts: Vec::new(),
        lease: Lease::Free,
        base: None,
        next_tick: NextTick::NotListed,
        notes: Vec::new(),
        ..facts()
    };
    insta::assert_snapshot!(view(nothing, now()).text());
}
