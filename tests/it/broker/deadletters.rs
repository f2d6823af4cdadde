//! Dead letters: the bytes, the record, the queue.

use std::fmt::Write as _;
use std::sync::Arc;

use ::broker::{DeadLetter, DeadLetterError, DeadLetterId, LockError, Replay};
use job::{DeadLetterReason, DeadLetterRecord, Failure, FailureKind, Tail};

use super::*;

pub(super) fn record(message: &str, log: &str) -> DeadLetterRecord {
    DeadLetterRecord {
        reason: DeadLetterReason::Failed,
        at: Utc::now(),
        worker: "worker-1".into(),
        job: None,
        target: None,
        failure: Some(Failure::new(FailureKind::CaptureSilent, message).with_output(Some(1), Tail::of(log))),
        decode_error: None,
        cut: None,
        queue: "work.refresh".into(),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
    }
}

async fn bury(slot: &mut Slot, message: &str, log: &str) -> Vec<u8> {
    let delivery = take(slot).await;
    let body = delivery.message().body.clone();
    assert_eq!(delivery.dead_letter(record(message, log)).await, Settled::Done);
    body
}

fn ids(letters: &[Arc<DeadLetter>]) -> Vec<DeadLetterId> {
    letters.iter().map(|letter| letter.id.clone()).collect()
}

#[tokio::test]
async fn a_dead_letter_keeps_its_bytes_and_the_end_of_its_log() {
    let broker = connect().await;
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let garbage: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let huge = vec![0xff; 300 * 1024];
    let mut log = String::new();
    for line in 0..5000 {
        writeln!(log, "line {line} of a \"quoted\" and rather long log").unwrap();
    }
    let mut slot = broker.slot();
    for body in [&garbage, &huge, &Vec::new()] {
        stranger.publish(broker.topology(), WorkQueue::Refresh, body, BasicProperties::default()).await;
        let delivery = take(&mut slot).await;
        assert!(delivery.job(&fleet_of(&broker)).is_err());
        assert_eq!(delivery.message().envelope.attempt, 1);
        assert_eq!(delivery.dead_letter(record("no job", &log)).await, Settled::Done);
    }
    let mut queue = broker.dead_letters().await.unwrap();
    let letters = queue.list().await.unwrap();
    let bodies: Vec<_> = letters.iter().map(|letter| letter.body.clone()).collect();
    assert!(bodies == [garbage, huge, Vec::new()], "bytes or order changed");
    for letter in &letters {
        let failure = letter.record.as_ref().unwrap().failure.as_ref().unwrap();
        assert!(failure.log_tail.as_str().ends_with("line 4999 of a \"quoted\" and rather long log\n"));
        assert!(failure.log_tail.as_str().len() > 4096);
    }
    queue.close().await;
    broker.close().await;
}

#[tokio::test]
async fn one_operator_at_a_time_replays_and_all_else_stays_queued() {
    let broker = connect().await;
    let mut slot = broker.slot();
    for number in 0..5 {
        submit(&broker, WorkQueue::Refresh).await;
        bury(&mut slot, &format!("failure {number}"), "").await;
    }
    let mut queue = broker.dead_letters().await.unwrap();
    let second = broker.dead_letters().await;
    assert!(matches!(second, Err(LockError::Held(_))), "{second:?}");

    let letters = queue.list().await.unwrap();
    assert_eq!(letters.len(), 5);
    assert_eq!(
        ids(&queue.list().await.unwrap()),
        ids(&letters),
        "a second look sees the same, in the same order"
    );
    let fleet = fleet_of(&broker);
    let chosen = ids(&letters[..2]);
    let results = queue
        .replay(&chosen, |letter| {
            let mut job = Job::decode(&letter.body, &fleet).unwrap();
            job.reason = Reason::Replay;
            Replay::Job(Box::new(job))
        })
        .await;
    let replays: Vec<_> = results.into_iter().map(|(_, result)| result.unwrap()).collect();
    let unknown = queue.discard(&[DeadLetterId::new("nobody")]).await;
    assert!(matches!(unknown[..], [(_, Err(DeadLetterError::NotListed(_)))]), "{unknown:?}");
    let discarded = queue.discard(&ids(&letters[2..3])).await;
    assert!(matches!(discarded[..], [(_, Ok(()))]), "{discarded:?}");
    queue.restore(&letters[2]).await.unwrap();
    let skipped = queue.replay(&ids(&letters[3..4]), |_| Replay::Skip).await;
    assert!(matches!(skipped[..], [(_, Err(DeadLetterError::Skipped))]), "{skipped:?}");
    queue.close().await;

    for (id, replay) in chosen.iter().zip(replays) {
        let delivery = take(&mut slot).await;
        let message = delivery.message();
        assert_eq!((id_of(&delivery), message.queue), (id.to_string(), WorkQueue::OnDemand));
        assert_eq!((message.envelope.attempt, message.envelope.replay), (1, Some(replay)));
        assert_eq!(delivery.job(&fleet).unwrap().reason, Reason::Replay);
        ack(delivery).await;
    }
    let mut next = broker.dead_letters().await.unwrap();
    let left = next.list().await.unwrap();
    assert_eq!(ids(&left), ids(&letters[2..]), "restored and untouched ones are there");
    assert_eq!(left[0].record, letters[2].record);
    next.close().await;
    broker.close().await;
}

#[tokio::test]
async fn what_the_broker_gave_up_on_is_a_dead_letter_with_its_reason() {
    let broker = connect().await;
    let id = submit(&broker, WorkQueue::OnDemand).await.to_string();
    let mut slot = broker.slot();
    // As a worker that crashes on this job does, each time it gets it.
    for crash in 0..=20 {
        let delivery = take(&mut slot).await;
        assert_eq!(delivery.message().delivery_count, crash);
        delivery.drop_lost();
    }
    eventually_depth(&broker, "the broker gave up", |depths| depths.dead == 1).await;
    let mut queue = broker.dead_letters().await.unwrap();
    let letters = queue.list().await.unwrap();
    assert_eq!(letters[0].id.as_str(), id);
    let death = letters[0].broker_death.as_ref().unwrap();
    assert_eq!(
        (death.reason.as_str(), death.queue.as_str()),
        ("delivery_limit", broker.topology().work_queue(WorkQueue::OnDemand).as_str())
    );
    assert_eq!((letters[0].record.as_ref(), letters[0].home), (None, WorkQueue::OnDemand));
    let results = queue.replay(&ids(&letters), |_| Replay::AsRecorded).await;
    assert!(results[0].1.is_ok(), "{results:?}");
    queue.close().await;
    let delivery = take(&mut slot).await;
    assert_eq!(
        (delivery.message().delivery_count, delivery.message().redelivered),
        (0, false),
        "counts do not travel"
    );
    ack(delivery).await;
    broker.close().await;
}
