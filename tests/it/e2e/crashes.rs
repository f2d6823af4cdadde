//! Whatever dies, and whenever: the job ends once, its target is promoted once, and nothing stays behind.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_tests::eventually;
use fleet_tests::rabbit::RabbitNode;
use job::{AttemptEnd, LedgerEvent, OutcomeWord, Stage};

use super::scene::{BUILD, SOON, Scene};
use super::steps::{HELD, shortly};

/// Long enough for a worker that has nothing to wait for.
const AT_ONCE: Duration = Duration::from_mins(1);

fn stages(end: &AttemptEnd) -> Vec<Stage> {
    end.stages.iter().map(|report| report.stage).collect()
}

impl Scene {
    /// One prebuild, promoted, and nothing else of the fleet left anywhere.
    async fn promoted_once(&self, target: &job::Target, commit: &str) {
        let prebuild = self.promoted(target).await;
        assert_eq!(prebuild.commit.as_str(), commit);
        assert_eq!(self.prebuilds().await, [prebuild.name.to_string()]);
        assert_eq!(self.state(target).await.kept, []);
        self.nothing_leaks().await;
        self.queues_are_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_build_is_replaced_at_a_stale_lease() {
    let scene = Scene::start().await;
    let (target, commit) = scene.small("acme/killed").await;
    let mut first = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let abandoned = scene.until_held(&target).await;
    first.kill9().unwrap();

    let _second = scene.fleet.worker().await.unwrap();
    let taken_over = scene.until_held_anew(&target, &abandoned.id).await;
    scene.let_go(&taken_over).await;
    let end = scene.end_where(&job, "well", |end| end.outcome.is_success()).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "a dead worker costs no attempt: {end:?}");
    assert_eq!(scene.captures().await, 1);
    scene.promoted_once(&target, &commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_captured_is_promoted_not_built_again() {
    let scene = Scene::start().await;
    let (target, commit) = scene.small("acme/captured").await;
    scene.delay_verification(Duration::from_mins(10)).await;
    let mut first = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;
    scene.until_verification_waits().await;
    first.kill9().unwrap();

    let _second = scene.fleet.worker().await.unwrap();
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    let built_again = stages(&end)
        .into_iter()
        .any(|stage| matches!(stage, Stage::Checkout | Stage::Build | Stage::Capture));
    assert!(!built_again, "{:?}", stages(&end));
    assert_eq!(scene.captures().await, 1);
    scene.promoted_once(&target, &commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restarted_in_mid_build_ends_the_job_once() {
    broker_outage(async |node| node.restart().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_mid_build_ends_the_job_once() {
    broker_outage(async |node| {
        node.kill9().unwrap();
        node.restart().await.unwrap();
    })
    .await;
}

/// A scene on a broker that has had its queues for a while. RabbitMQ 3.10 loses for good what it declared in the second
/// before it is killed; a restart has it all on disk.
async fn seasoned() -> (RabbitNode, Scene) {
    let mut node = RabbitNode::start().await.unwrap();
    let scene = Scene::at(&node.amqp_url("/"), |_| {}).await;
    node.restart().await.unwrap();
    (node, scene)
}

async fn broker_outage(outage: impl AsyncFnOnce(&mut RabbitNode)) {
    let (mut node, scene) = seasoned().await;
    let (target, commit) = scene.small("acme/outage").await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    outage(&mut node).await;
    scene.let_go(&sandbox).await;

    // The build goes on beside the outage; its delivery is lost, so the message comes again and finds the prebuild.
    let unchanged = scene.end_where(&job, "unchanged", |end| end.outcome == OutcomeWord::Unchanged).await;
    assert_eq!((unchanged.number, unchanged.decision.as_str()), (1, "ack"), "{unchanged:?}");
    assert_eq!(scene.captures().await, 1);
    scene.promoted_once(&target, &commit).await;
    let status = worker.terminate(AT_ONCE).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_ends_while_the_broker_is_away_is_not_lost() {
    let (mut node, scene) = seasoned().await;
    let (target, commit) = scene.small("acme/away").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    node.kill9().unwrap();
    scene.let_go(&sandbox).await;
    eventually(BUILD, "captured without a broker, sandboxes gone", async || {
        let (captures, left) = (scene.captures().await, scene.sandboxes().await.len());
        if captures == 1 && left == 0 {
            Ok(())
        } else {
            Err(format!("{captures} captures, {left} sandboxes"))
        }
    })
    .await;
    node.restart().await.unwrap();

    scene.end_where(&job, "well", |end| end.outcome.is_success() && end.decision == "ack").await;
    assert_eq!(scene.captures().await, 1, "what was captured meanwhile is promoted, not built again");
    scene.promoted_once(&target, &commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_leave_at_once_hands_its_job_back_at_no_cost() {
    let scene = Scene::with(|plan| plan.drain = "0s").await;
    let (target, commit) = scene.small("acme/leaving").await;
    let mut first = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let left_behind = scene.until_held(&target).await;
    let status = first.terminate(AT_ONCE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", first.stderr());
    assert_eq!(
        scene.daytona.get_sandbox(left_behind.id.as_str()).await.unwrap(),
        None,
        "it cleans up behind itself"
    );
    let ends = scene.ends(job.id, 1).await;
    let told: Vec<_> = ends.iter().map(|end| (end.number, end.outcome, end.decision.as_str())).collect();
    assert_eq!(told, [(1, OutcomeWord::Interrupted, "hand_back")]);
    assert_eq!(scene.broker.queue_depths().await.unwrap().resume, 1);

    let _second = scene.fleet.worker().await.unwrap();
    let sandbox = scene.until_held(&target).await;
    scene.let_go(&sandbox).await;
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.promoted_once(&target, &commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_leave_finishes_what_ends_in_time() {
    let scene = Scene::start().await;
    let (target, commit) = scene.small("acme/finishing").await;
    let (waiting, _) = scene.small("acme/waiting").await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    worker.signal(rustix::process::Signal::TERM).unwrap();
    worker.says("draining: no new jobs", SOON).await.unwrap();
    let later = scene.job_building(&waiting, "true");
    scene.publish(&later).await;
    scene.let_go(&sandbox).await;
    let status = worker.ended(SOON).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", worker.stderr());
    let ends = scene.ends(job.id, 1).await;
    assert_eq!(ends[0].outcome, OutcomeWord::Built, "{}", shortly(&ends));
    assert_eq!(scene.promoted(&target).await.commit.as_str(), commit);
    assert_eq!(scene.ends_of(later.id), [], "a leaving worker takes nothing new");
    assert_eq!(scene.broker.queue_depths().await.unwrap().on_demand, 1);
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_a_frozen_broker_within_its_grace() {
    let mut node = RabbitNode::start().await.unwrap();
    let scene = Scene::at(&node.amqp_url("/"), |plan| plan.drain = "0s").await;
    let (target, _) = scene.small("acme/frozen").await;
    let mut worker = scene.fleet.worker().await.unwrap();
    scene.publish(&scene.job_building(&target, HELD)).await;
    scene.until_held(&target).await;
    node.freeze().unwrap();
    // That the bound is one, and how long, is lifecycle's own test; a busy machine adds to it.
    let status = worker.terminate(3 * lifecycle::FAREWELL).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", worker.stderr());
    assert_eq!(scene.sandboxes().await.len(), 0, "what it held is given up all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_nothing_to_do_leaves_within_seconds() {
    let scene = Scene::start().await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let status = worker.terminate(AT_ONCE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_four_targets() {
    let scene = Scene::start().await;
    let _workers = [scene.fleet.worker().await.unwrap(), scene.fleet.worker().await.unwrap()];
    let mut jobs = Vec::new();
    for number in 0..4 {
        let (target, _) = scene.small(&format!("acme/shared-{number}")).await;
        jobs.push(scene.job_building(&target, "true"));
    }
    for job in &jobs {
        scene.publish(job).await;
    }
    for job in &jobs {
        assert_eq!(scene.last_end(job).await.outcome, OutcomeWord::Built);
    }
    let by: BTreeSet<String> = scene
        .told()
        .into_iter()
        .filter(|entry| matches!(&entry.event, LedgerEvent::AttemptEnded(_)))
        .map(|entry| entry.by)
        .collect();
    assert_eq!(by.len(), 2, "{by:?}");
    assert_eq!(scene.captures().await, 4);
    scene.nothing_leaks().await;
}
