//! Taking, settling, and what never happens to a neighbour.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_job_that_no_queue_takes_is_an_error_not_a_silence() {
    let broker = connect().await;
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let queue = broker.topology().work_queue(WorkQueue::Refresh);
    stranger.channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    let job = job_of(&fleet_of(&broker));
    let result = published(&broker.publisher(), &job, WorkQueue::Refresh).await;
    assert!(matches!(result, Err(PublishError::Unroutable { .. })), "{result:?}");
    published(&broker.publisher(), &job, WorkQueue::OnDemand).await.unwrap();

    let mut huge = job.clone();
    huge.settings.owner = Some("x".repeat(job::MAX_JOB_BYTES));
    let result = published(&broker.publisher(), &huge, WorkQueue::OnDemand).await;
    assert!(matches!(result, Err(PublishError::TooLarge { .. })), "{result:?}");
    broker.close().await;
}

#[tokio::test]
async fn resumed_jobs_come_first_then_on_demand_then_the_schedules() {
    let broker = connect().await;
    let mut expected = Vec::new();
    for queue in [WorkQueue::Refresh, WorkQueue::OnDemand, WorkQueue::Resume] {
        for _ in 0..2 {
            expected.push((queue, submit(&broker, queue).await.to_string()));
        }
    }
    expected.sort_by_key(|(queue, _)| *queue);
    let (mut slot, mut taken) = (broker.slot(), Vec::new());
    for _ in 0..expected.len() {
        let delivery = take(&mut slot).await;
        taken.push((delivery.message().queue, id_of(&delivery)));
        ack(delivery).await;
    }
    assert_eq!(taken, expected);
    broker.close().await;
}

#[tokio::test]
async fn a_slot_of_one_queue_takes_nothing_else() {
    let broker = connect().await;
    submit(&broker, WorkQueue::Refresh).await;
    let mut slot = broker.slot_on(&[WorkQueue::OnDemand]);
    let wanted = async {
        eventually_depth(&broker, "the other job waits", |depths| depths.refresh == 1).await;
        submit(&broker, WorkQueue::OnDemand).await
    };
    let (delivery, id) = tokio::join!(take(&mut slot), wanted);
    assert_eq!(id_of(&delivery), id.to_string());
    ack(delivery).await;
    assert_eq!(broker.queue_depths().await.unwrap().refresh, 1);
    broker.close().await;
}

#[tokio::test]
async fn retries_come_back_to_their_own_queue_after_growing_delays() {
    let broker = connect().await;
    let id = submit(&broker, WorkQueue::OnDemand).await.to_string();
    let mut slot = broker.slot();
    for (attempt, delay) in (2..).zip(DELAYS) {
        let delivery = take(&mut slot).await;
        let mut envelope = delivery.message().envelope.clone();
        envelope.attempt = attempt;
        envelope.last_error = Some("é".repeat(3000));
        let started = Instant::now();
        assert_eq!(delivery.retry_after(delay, envelope).await, Settled::Done);
        let delivery = take(&mut slot).await;
        assert!(started.elapsed() >= delay, "{:?} is earlier than {delay:?}", started.elapsed());
        let message = delivery.message();
        assert_eq!(
            (id_of(&delivery), message.queue, message.envelope.attempt),
            (id.clone(), WorkQueue::OnDemand, attempt)
        );
        assert_eq!((message.delivery_count, message.redelivered), (0, false));
        assert!(message.envelope.last_error.as_ref().is_some_and(|error| error.len() <= 1024));
        let envelope = message.envelope.clone();
        assert_eq!(delivery.hand_back(envelope).await, Settled::Done);
    }
    let delivery = take(&mut slot).await;
    assert_eq!((delivery.message().queue, delivery.message().home), (WorkQueue::Resume, WorkQueue::OnDemand));
    ack(delivery).await;
    broker.close().await;
}

#[tokio::test]
async fn many_slots_share_the_work_and_none_gets_what_another_has() {
    let broker = connect().await;
    let jobs = 200;
    let mut slots = tokio::task::JoinSet::new();
    let stop = CancellationToken::new();
    for _ in 0..8 {
        let (mut slot, stop) = (broker.slot(), stop.clone());
        slots.spawn(async move {
            let mut taken = Vec::new();
            while let Some(delivery) = slot.take(&stop).await {
                taken.push(id_of(&delivery));
                ack(delivery).await;
            }
            taken
        });
    }
    let mut expected = BTreeSet::new();
    for number in 0..jobs {
        expected.insert(submit(&broker, WorkQueue::BY_PRIORITY[number % 3]).await.to_string());
    }
    eventually_depth(&broker, "the queues are empty", |depths| depths.waiting() == 0).await;
    stop.cancel();
    let taken = slots.join_all().await.concat();
    assert_eq!(taken.len(), jobs, "none twice");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), expected);
    broker.close().await;
}

#[tokio::test]
async fn a_delivery_dropped_without_an_end_comes_again_alone() {
    let broker = connect().await;
    for _ in 0..2 {
        submit(&broker, WorkQueue::Refresh).await;
    }
    let (mut one, mut other) = (broker.slot(), broker.slot());
    let (careless, careful) = (take(&mut one).await, take(&mut other).await);
    let id = id_of(&careless);
    drop(careless);
    let again = take(&mut one).await;
    assert_eq!(id_of(&again), id);
    assert!(again.message().redelivered);
    assert_eq!(again.message().delivery_count, 1);
    assert!(!careful.is_lost());
    ack(careful).await;
    again.drop_lost();
    ack(take(&mut other).await).await;
    eventually_depth(&broker, "nothing is left", |depths| depths.waiting() == 0).await;
    broker.close().await;
}

#[tokio::test]
async fn a_take_that_is_dropped_half_way_keeps_nothing() {
    let broker = connect().await;
    let mut slot = broker.slot();
    let mut seen = 0_u32;
    for _ in 0..50 {
        submit(&broker, WorkQueue::Refresh).await;
        // Ends at any point of the fetch, as a caller's select! does.
        let cancel = CancellationToken::new();
        tokio::select! {
            biased;
            delivery = slot.take(&cancel) => { ack(delivery.unwrap()).await; seen += 1; }
            () = async { for _ in 0..=seen { tokio::task::yield_now().await } } => {}
        }
    }
    let mut patient = broker.slot();
    while seen < 50 {
        ack(take(&mut patient).await).await;
        seen += 1;
    }
    eventually_depth(&broker, "nothing is left", |depths| depths.waiting() == 0).await;
    broker.close().await;
}
