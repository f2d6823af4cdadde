//! Pools: workers that are kept for some of the queues.

use std::collections::BTreeMap;

use broker::WorkQueue;
use chrono::Utc;
use job::{Envelope, OutcomeWord};

use super::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_only_from_the_queues_it_is_kept_for() {
    let scene = Scene::start().await;
    let (asked, _) = scene.small("acme/asked").await;
    let (due, _) = scene.small("acme/due").await;
    let asked = scene.job_building(&asked, "true");
    let due = scene.job_building(&due, "true");
    scene.publish(&asked).await;
    let envelope = Envelope::first(Utc::now(), BTreeMap::new());
    scene.broker.publisher().publish_job(&due, &envelope, WorkQueue::Refresh).await.unwrap();

    // On demand goes first wherever both are taken, so what is built first tells.
    let _scheduled_only = scene.fleet.worker_with([("HARVEST_QUEUES", "refresh")]).await.unwrap();
    assert_eq!(scene.last_end(&due).await.outcome, OutcomeWord::Built);
    assert_eq!(scene.ends_of(asked.id), [], "a worker for the schedule took what somebody asked for");

    let _rest = scene.fleet.worker_with([("HARVEST_QUEUES", "resume,ondemand")]).await.unwrap();
    assert_eq!(scene.last_end(&asked).await.outcome, OutcomeWord::Built);
    scene.nothing_leaks().await;
}
