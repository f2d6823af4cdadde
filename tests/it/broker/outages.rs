//! What is kept when the broker, a connection or a lock dies.

use std::collections::BTreeSet;
use std::sync::mpsc;

use ::broker::{BrokerStatus, JobMessage, LockError, LockName};
use fleet_tests::rabbit::Alarm;

use super::*;

async fn status(broker: &Broker, what: &str, wanted: impl Fn(&BrokerStatus) -> bool) {
    let mut status = broker.status();
    let seen = tokio::time::timeout(SOON, status.wait_for(|status| wanted(status))).await;
    assert!(seen.is_ok_and(|seen| seen.is_ok()), "{what}: {:?}", broker.status().borrow().clone());
}

async fn drain(broker: &Broker, expected: &BTreeSet<String>) {
    let (mut slot, mut missing) = (broker.slot(), expected.clone());
    while !missing.is_empty() {
        let delivery = take(&mut slot).await;
        missing.remove(&id_of(&delivery));
        ack(delivery).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_confirmed_is_lost_when_the_node_dies_in_mid_publish() {
    let mut node = RabbitNode::start().await.unwrap();
    let broker = connect_to(&node.amqp_url("/"), &fleet()).await;
    let fleet = fleet_of(&broker);
    let jobs: Vec<Job> = (0..2000).map(|_| job_of(&fleet)).collect();
    let expected: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();

    // The iterator stands still at the middle until the node is dead, so the kill never comes too early or too late.
    let (reached, middle) = mpsc::channel();
    let (killed, go_on) = mpsc::channel();
    let messages = jobs.into_iter().enumerate().map(move |(number, job)| {
        if number == 1000 {
            reached.send(()).unwrap();
            go_on.recv().unwrap();
        }
        JobMessage { job, envelope: first(), queue: WorkQueue::Refresh }
    });
    let publisher = broker.publisher();
    let publishing = tokio::spawn(async move { publisher.publish_jobs(messages, 10 * SOON).await });
    tokio::task::spawn_blocking(move || middle.recv().unwrap()).await.unwrap();
    node.kill9().unwrap();
    killed.send(()).unwrap();
    status(&broker, "the outage is noticed", |status| matches!(status, BrokerStatus::Disconnected { .. }))
        .await;
    node.restart().await.unwrap();

    let results = publishing.await.unwrap();
    assert_eq!(results.len(), 2000);
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
    drain(&broker, &expected).await;
    broker.close().await;
}

#[tokio::test]
async fn an_idle_slot_and_a_publisher_outlive_a_restart_of_the_node() {
    let mut node = RabbitNode::start().await.unwrap();
    let broker = connect_to(&node.amqp_url("/"), &fleet()).await;
    let mut slot = broker.slot();
    let kept = submit(&broker, WorkQueue::Refresh).await.to_string();
    let delivery = take(&mut slot).await;
    let lost = delivery.lost();
    let mut idle = broker.slot();
    // Without a bound of its own, which would run while the node restarts, for as long as the machine makes that take.
    let waiting = tokio::spawn(async move {
        let taken = idle.take(&CancellationToken::new()).await.map(|delivery| id_of(&delivery));
        (taken, idle)
    });
    node.restart().await.unwrap();
    tokio::time::timeout(SOON, lost.cancelled()).await.expect("the delivery is told");
    assert!(delivery.is_lost());
    assert_eq!(delivery.ack().await, Settled::Lost);
    status(&broker, "connected again", BrokerStatus::is_connected).await;
    let waited = tokio::time::timeout(SOON, waiting).await.expect("the idle slot is given something");
    assert_eq!(waited.unwrap().0.unwrap(), kept, "it comes again, to whoever waits");
    submit(&broker, WorkQueue::OnDemand).await;
    ack(take(&mut slot).await).await;
    broker.close().await;
}

#[tokio::test]
async fn every_end_of_a_lost_delivery_is_lost_and_publishes_nothing() {
    let broker = connect().await;
    let mut slot = broker.slot();
    submit(&broker, WorkQueue::Refresh).await;
    for end in 0..4 {
        let delivery = take(&mut slot).await;
        assert_eq!(delivery.message().redelivered, end > 0);
        broker.host.close_connections().await.unwrap();
        tokio::time::timeout(SOON, delivery.lost().cancelled()).await.expect("the delivery is told");
        let envelope = delivery.message().envelope.clone();
        let settled = match end {
            0 => delivery.ack().await,
            1 => delivery.retry_after(DELAYS[0], envelope).await,
            2 => delivery.hand_back(envelope).await,
            _ => delivery.dead_letter(deadletters::record("late", "")).await,
        };
        assert_eq!(settled, Settled::Lost);
        status(&broker, "connected again", BrokerStatus::is_connected).await;
    }
    ack(take(&mut slot).await).await;
    let depths = broker.queue_depths().await.unwrap();
    assert_eq!((depths.waiting(), depths.dead), (0, 0));
    broker.close().await;
}

#[tokio::test]
async fn a_blocked_broker_is_said_and_what_follows_a_delivery_waits() {
    let node = RabbitNode::start().await.unwrap();
    let fleet = fleet();
    let mut settings = settings(&node.amqp_url("/"), &fleet);
    settings.section.publish_timeout = Duration::from_secs(1);
    let broker = Broker::connect(settings).await.unwrap();
    let mut slot = broker.slot();
    let id = submit(&broker, WorkQueue::Refresh).await.to_string();
    let delivery = take(&mut slot).await;
    node.raise_alarm(Alarm::Memory).await.unwrap();
    // The first publish tells the broker that this connection publishes; only then is it blocked.
    let first_result = published(&broker.publisher(), &job_of(&fleet), WorkQueue::OnDemand).await;
    assert!(
        matches!(first_result, Err(PublishError::Unknown(_) | PublishError::Blocked)),
        "{first_result:?}"
    );
    status(&broker, "blocked", |status| matches!(status, BrokerStatus::Blocked { .. })).await;
    let result = published(&broker.publisher(), &job_of(&fleet), WorkQueue::OnDemand).await;
    assert!(matches!(result, Err(PublishError::Blocked)), "{result:?}");

    let envelope = delivery.message().envelope.clone();
    let settling = tokio::spawn(delivery.retry_after(DELAYS[0], envelope));
    node.clear_alarm(Alarm::Memory).await.unwrap();
    assert_eq!(settling.await.unwrap(), Settled::Done);
    let mut taken = BTreeSet::new();
    while !taken.contains(&id) {
        let delivery = take(&mut slot).await;
        taken.insert(id_of(&delivery));
        ack(delivery).await;
    }
    broker.close().await;
}

#[tokio::test]
async fn the_producers_lock_changes_hands_when_its_connection_dies() {
    let host = virtual_host().await;
    let fleet = fleet();
    let one = connect_to(&host.amqp_url(), &fleet).await;
    let other = connect_to(&host.amqp_url(), &fleet).await;
    let lock = one.try_lock(LockName::Producer).await.unwrap();
    let refused = other.try_lock(LockName::Producer).await;
    assert!(matches!(refused, Err(LockError::Held(_))), "{refused:?}");
    published(&lock.publisher(), &job_of(&fleet), WorkQueue::Refresh).await.unwrap();

    host.close_connections().await.unwrap();
    tokio::time::timeout(SOON, lock.lost().cancelled()).await.expect("the holder is told");
    let next = eventually(SOON, "the lock is free", async || {
        other.try_lock(LockName::Producer).await.map_err(|error| error.to_string())
    })
    .await;
    let late = published(&lock.publisher(), &job_of(&fleet), WorkQueue::Refresh).await;
    assert!(matches!(late, Err(PublishError::Disconnected)), "a former holder published: {late:?}");
    assert_eq!(one.queue_depths().await.unwrap().refresh, 1);

    next.release().await;
    one.try_lock(LockName::Producer).await.unwrap();
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_dropped_lock_is_free_for_the_next() {
    let broker = connect().await;
    let lock = broker.try_lock(LockName::Producer).await.unwrap();
    drop(lock);
    eventually(SOON, "a dropped lock is free", async || {
        broker.try_lock(LockName::Producer).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    broker.close().await;
}
