//! What is tried again, how often, after how long, and at whose cost.

use std::time::Duration;

use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::Fault;
use job::{AttemptEnd, CommandSetting, Commands, FailureKind, Job, NextAttempt, OutcomeWord, Scope};
use serde_json::json;

use super::scene::{SOON, Scene};

const CREATE: &str = "/api/sandbox";

fn failure_of(end: &AttemptEnd) -> Option<FailureKind> {
    end.failure.as_ref().map(|failure| failure.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_host_that_stays_down_is_asked_three_times_ever_later() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/away").await;
    scene.git.set_fault("acme/away", Fault::Unavailable { times: u32::MAX }).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;

    scene.last_end(&job).await;
    let ends = scene.ends_of(job.id);
    let told: Vec<_> = ends.iter().map(|end| (end.number, end.decision.as_str(), end.next)).collect();
    let counted = Some(NextAttempt::Counted);
    assert_eq!(told, [(1, "retry", counted), (2, "retry", counted), (3, "dead_letter", None)]);
    assert!(ends.iter().all(|end| failure_of(end) == Some(FailureKind::CloneHostUnavailable)), "{ends:?}");

    // A quarter takes the next longer queue, so each delay is one of two.
    let delays: Vec<_> = ends.iter().filter_map(|end| end.retry_milliseconds).collect();
    assert!([300, 900].contains(&delays[0]) && [900, 2000].contains(&delays[1]), "{delays:?}");
    let at: Vec<_> = scene.told_ends(job.id).iter().map(|entry| entry.at).collect();
    for (pair, delay) in at.windows(2).zip(delays) {
        let waited = pair[1] - pair[0];
        assert!(
            waited >= chrono::Duration::milliseconds(delay.cast_signed()),
            "came back after {waited} instead of {delay} ms"
        );
    }

    let letters = scene.dead_letters(1).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(Job::decode(&letter.body, &scene.fleet_name()).unwrap(), job);
    assert_eq!(letter.envelope.attempt, 3);
    assert_eq!(letter.envelope.history.iter().map(|note| note.number).collect::<Vec<_>>(), [1, 2]);
    let record = letter.record.as_ref().unwrap();
    assert_eq!(record.failure.as_ref().map(|failure| failure.id), Some(FailureKind::CloneHostUnavailable));
    assert_eq!((record.target.as_ref(), record.job), (Some(&target), Some(job.id)));
    assert_eq!(scene.sandboxes_created().await, 0, "no commit, no sandbox");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_host_that_comes_back_in_time_costs_one_attempt() {
    let scene = Scene::with(|plan| plan.retry_delays = vec!["3s", "4s"]).await;
    let (target, _) = scene.small("acme/blip").await;
    scene.git.set_fault("acme/blip", Fault::Unavailable { times: u32::MAX }).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;
    scene.ends(job.id, 1).await;
    scene.git.set_fault("acme/blip", Fault::None).unwrap();

    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 2), "{end:?}");
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_reached_is_tried_again_and_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene =
        Scene::with(|plan| plan.worker_lines = format!("[toolchain]\nnpm_registry = \"http://{closed}/\"\n"))
            .await;
    let (target, _) = scene.repository("acme/unreachable", Sample::PinnedNode).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job(&target);
    scene.publish(&job).await;
    // npm asks several times by itself, so the first attempt is enough to wait for.
    let end = scene.ends(job.id, 1).await.remove(0);
    assert_eq!(
        (end.number, end.decision.as_str(), end.next),
        (1, "retry", Some(NextAttempt::Counted)),
        "{end:?}"
    );
    let failure = end.failure.unwrap();
    assert_eq!((failure.id, failure.scope), (FailureKind::ToolchainUnavailable, Scope::Registry));
    assert!(failure.message.contains("toolchain.npm_registry"), "{}", failure.message);
}

/// Plants the fault, runs a job to its end, and answers its attempts.
async fn attempts_under(scene: &Scene, name: &str, fault: &serde_json::Value) -> Vec<AttemptEnd> {
    let (target, _) = scene.small(name).await;
    scene.fleet.plant_fault(fault).await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;
    scene.last_end(&job).await;
    scene.nothing_leaks().await;
    scene.ends_of(job.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_of_daytona_is_waited_for_and_costs_no_attempt() {
    let scene = Scene::start().await;
    let _worker = scene.fleet.worker().await.unwrap();
    let limit = json!({ "kind": "rate_limit", "throttler": "sandbox-create", "retry_after_seconds": 1 });
    let fault = json!({ "match": { "method": "POST", "path_pattern": CREATE }, "times": 4, "action": limit });
    let ends = attempts_under(&scene, "acme/limited", &fault).await;
    let (built, limited) = ends.split_last().unwrap();
    assert_eq!((built.outcome, built.number), (OutcomeWord::Built, 1));
    assert_eq!(limited.len(), 4, "more tries than a repository has attempts");
    for end in limited {
        assert_eq!(failure_of(end), Some(FailureKind::DaytonaRateLimited));
        assert_eq!(
            (end.number, end.next, end.retry_milliseconds),
            (1, Some(NextAttempt::Free), Some(2000)),
            "{end:?}"
        );
    }
    scene.queues_are_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_free_machine_at_daytona_costs_no_attempt() {
    let scene = Scene::start().await;
    let _worker = scene.fleet.worker().await.unwrap();
    let body = json!({ "statusCode": 400, "error": "Bad Request", "message": "No available runners" });
    let answer = json!({ "kind": "answer", "status": 400, "body": body });
    let fault =
        json!({ "match": { "method": "POST", "path_pattern": CREATE }, "times": 4, "action": answer });
    let ends = attempts_under(&scene, "acme/crowded", &fault).await;
    let (built, refused) = ends.split_last().unwrap();
    assert_eq!((built.outcome, built.number, refused.len()), (OutcomeWord::Built, 1, 4));
    for end in refused {
        assert_eq!(failure_of(end), Some(FailureKind::ProvisionNoCapacity));
        assert_eq!((end.number, end.next), (1, Some(NextAttempt::Free)), "{end:?}");
    }
    scene.queues_are_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_daytona_key_makes_no_dead_letters_of_the_queue() {
    let scene = Scene::start().await;
    let _worker = scene.fleet.worker().await.unwrap();
    let body = json!({ "statusCode": 401, "error": "Unauthorized", "message": "Invalid credentials" });
    let answer = json!({ "kind": "answer", "status": 401, "body": body });
    let fault =
        json!({ "match": { "method": "POST", "path_pattern": CREATE }, "times": 5, "action": answer });
    let ends = attempts_under(&scene, "acme/keyless", &fault).await;
    let (built, refused) = ends.split_last().unwrap();
    assert_eq!((built.outcome, built.number, refused.len()), (OutcomeWord::Built, 1, 5));
    for end in refused {
        assert_eq!(failure_of(end), Some(FailureKind::DaytonaUnauthorized));
        assert_eq!(
            (end.number, end.decision.as_str(), end.next),
            (1, "retry", Some(NextAttempt::Free)),
            "{end:?}"
        );
    }
    scene.queues_are_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_takes_too_long_has_one_more_try() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/slow").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let mut job = scene.job_building(&target, "sleep 300");
    job.settings.timeouts.build = Duration::from_secs(1);
    scene.publish(&job).await;
    scene.last_end(&job).await;
    let ends = scene.ends_of(job.id);
    let told: Vec<_> = ends.iter().map(|end| (end.number, end.decision.as_str(), failure_of(end))).collect();
    let deadline = Some(FailureKind::StageDeadline);
    assert_eq!(told, [(1, "retry", deadline), (2, "dead_letter", deadline)]);
    scene.dead_letters(1).await;
    scene.nothing_leaks().await;
    assert_eq!(scene.captures().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_a_snapshot_the_last_good_prebuild_stays() {
    let scene = Scene::with(|plan| {
        plan.sandboxd_flags.extend(["--quota-snapshots".into(), "1".into()]);
        plan.worker_lines = "[quota]\nreserve_snapshots = 0\n".into();
    })
    .await;
    let (target, first) = scene.small("acme/full").await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    scene.git.commit("acme/full", "main", &[("NOTES.md", "more\n")]).await.unwrap();

    let end = scene.bring_up_to_date(&target).await;
    assert_eq!((end.outcome, end.decision.as_str()), (OutcomeWord::OverQuota, "ack"), "{end:?}");
    scene
        .state_where(&target, "it is over quota", |state| {
            state.last.as_ref().is_some_and(|last| last.outcome == OutcomeWord::OverQuota)
        })
        .await;
    assert_eq!(scene.promoted(&target).await.commit.as_str(), first);
    // Once is enough: the next one is not built in vain.
    let created = scene.sandboxes_created().await;
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::OverQuota);
    assert_eq!(scene.sandboxes_created().await, created);
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_fails_in_silence_is_found_out_and_built_again() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/silent").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let silence = json!({ "match": { "path_pattern": "/api/sandbox/*/snapshot" }, "action": { "kind": "silent_snapshot_failure" } });
    scene.fleet.plant_fault(&silence).await.unwrap();
    let mut job = scene.job_building(&target, "true");
    job.settings.timeouts.capture = Duration::from_secs(30);
    scene.publish(&job).await;
    scene.last_end(&job).await;
    let ends = scene.ends_of(job.id);
    let told: Vec<_> = ends.iter().map(|end| (end.number, end.outcome, failure_of(end))).collect();
    assert_eq!(
        told,
        [(1, OutcomeWord::Failed, Some(FailureKind::CaptureSilent)), (2, OutcomeWord::Built, None)]
    );
    scene.nothing_leaks().await;
    assert_eq!(scene.prebuilds().await, [scene.promoted(&target).await.name.to_string()]);
    assert_eq!(scene.sandboxes_created().await, 3, "two builds and one verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_whose_create_was_never_answered_is_adopted() {
    let scene = Scene::start().await;
    let _worker = scene.fleet.worker().await.unwrap();
    for (name, skip) in [("acme/adopted", 0), ("acme/adopted-at-verify", 1)] {
        let before = scene.sandboxes_created().await;
        let lost = json!({
            "match": { "method": "POST", "path_pattern": CREATE }, "skip": skip, "action": { "kind": "drop_connection_after" }
        });
        let ends = attempts_under(&scene, name, &lost).await;
        assert_eq!(
            ends.iter().map(|end| (end.number, end.outcome)).collect::<Vec<_>>(),
            [(1, OutcomeWord::Built)],
            "{name}"
        );
        assert_eq!(scene.sandboxes_created().await - before, 2, "{name}: one to build, one to verify");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_does_not_start_is_removed_and_a_retry_follows() {
    let scene = Scene::start().await;
    let _worker = scene.fleet.worker().await.unwrap();
    let error = json!({ "kind": "start_error", "reason": "Timeout while starting" });
    let fault = json!({ "match": { "method": "POST", "path_pattern": CREATE }, "action": error });
    let ends = attempts_under(&scene, "acme/stillborn", &fault).await;
    let told: Vec<_> = ends.iter().map(|end| (end.number, end.outcome, failure_of(end))).collect();
    assert_eq!(
        told,
        [(1, OutcomeWord::Failed, Some(FailureKind::ProvisionFailed)), (2, OutcomeWord::Built, None)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_two_attempts_cannot_start_is_built_anew() {
    let scene = Scene::with(|plan| plan.in_use = "0s").await;
    let _producer = scene.fleet.producer(&[]).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    // Of each attempt's two sandboxes the second is the one from the new snapshot. A rule does not see what one before
    // it has answered.
    let error = json!({ "kind": "start_error", "reason": "Timeout while starting" });
    let fault = |skip| json!({ "match": { "method": "POST", "path_pattern": CREATE }, "skip": skip, "action": error });
    scene.fleet.plant_fault(&fault(1)).await.unwrap();
    let ends = attempts_under(&scene, "acme/unstartable", &fault(2)).await;
    let told: Vec<_> = ends.iter().map(|end| (end.number, end.outcome, failure_of(end))).collect();
    let not_started = Some(FailureKind::VerifyStart);
    let expected = [
        (1, OutcomeWord::Failed, not_started),
        (2, OutcomeWord::Failed, not_started),
        (3, OutcomeWord::Built, None),
    ];
    assert_eq!(told, expected);
    assert_eq!(scene.captures().await, 2, "the second attempt takes up what the first has captured");
    let target = "acme/unstartable@main".parse().unwrap();
    scene.only_prebuild_is(&scene.promoted(&target).await.name.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_is_closed_once_the_repository_is_well() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/mended").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let install = Some(CommandSetting::Run("test -e mended || { echo not mended; exit 1; }".into()));
    let job =
        scene.job_with(&target, |settings| settings.commands = Commands { install, ..Commands::default() });
    scene.publish(&job).await;
    let failed = scene.last_end(&job).await;
    assert_eq!((failed.number, failed.decision.as_str()), (1, "dead_letter"), "{failed:?}");
    scene.dead_letters(1).await;

    // Not mended yet: tried, although this commit is known to fail, and a dead letter again.
    replay_all(&scene).await;
    let ends = scene.ends(job.id, 2).await;
    assert_eq!(
        (ends[1].outcome, ends[1].number, ends[1].decision.as_str()),
        (OutcomeWord::Failed, 1, "dead_letter")
    );
    let letters = scene.dead_letters(1).await;
    assert_eq!(Job::decode(&letters[0].body, &scene.fleet_name()).unwrap().id, job.id);

    scene.git.commit("acme/mended", "main", &[("mended", "")]).await.unwrap();
    replay_all(&scene).await;
    let ends = scene.ends(job.id, 3).await;
    assert_eq!((ends[2].outcome, ends[2].number), (OutcomeWord::Built, 1), "{:?}", ends[2]);
    scene
        .state_where(&target, "nothing is open", |state| {
            state.open_dead_letters.is_empty() && state.failing.is_none()
        })
        .await;
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

async fn replay_all(scene: &Scene) {
    let answer =
        scene.fleet.ask(&["dead-letters", "replay", "--all", "--as-recorded", "--yes"], SOON).await.unwrap();
    assert_eq!(answer.code, Some(0), "{answer:?}");
}
