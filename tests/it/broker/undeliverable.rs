//! What cannot go where it must: kept in part, or by another way, and never held for ever.

use std::sync::Arc;

use ::broker::{DeadLetter, DeadLetterError, Replay};
use job::{DeadLetterReason, DeadLetterRecord};
use lapin::options::QueueDeleteOptions;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest, Sha256};

use super::*;

/// More than a message of ours may have; RabbitMQ 3.10 takes 128 MiB, 4.0 16 MiB unless it is told to take more.
const TOO_LARGE: usize = 17 << 20;

fn no_job() -> DeadLetterRecord {
    DeadLetterRecord {
        reason: DeadLetterReason::Undecodable,
        at: Utc::now(),
        worker: "worker-1".into(),
        job: None,
        target: None,
        failure: None,
        decode_error: Some("it is no job".into()),
        cut: None,
        queue: "work.refresh".into(),
        trace_id: None,
    }
}

async fn letters_of(broker: &Broker) -> Vec<Arc<DeadLetter>> {
    let mut queue = broker.dead_letters().await.unwrap();
    let letters = queue.list().await.unwrap();
    queue.close().await;
    letters
}

/// A slot's end of a delivery, within a bound: what can't be ended is tried for minutes.
async fn settled(ending: impl Future<Output = Settled>) {
    let settled = tokio::time::timeout(SOON, ending).await;
    assert_eq!(settled.expect("the delivery still holds its slot"), Settled::Done);
}

fn assert_part(letter: &DeadLetter, whole: &[u8]) {
    let cut = letter.record.as_ref().unwrap().cut.as_ref().expect("the record says that it is a part");
    assert_eq!((cut.bytes, cut.kept), (whole.len() as u64, 1024), "{cut:?}");
    assert_eq!(cut.sha256, hex::encode(Sha256::digest(whole)));
    assert!(letter.body == whole[..1024], "the part is its beginning");
}

#[tokio::test]
async fn what_is_too_large_to_be_dead_lettered_is_kept_in_part() {
    let broker = connect().await;
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let garbage: Vec<u8> = (0..=255).cycle().take(TOO_LARGE).collect();
    // Its first KiB alone reads as a job, and must not be taken for one.
    let mut posing = job_of(&fleet_of(&broker)).encode();
    assert!(posing.len() < 1024, "{}", posing.len());
    posing.resize(TOO_LARGE, b' ');
    let mut other = posing.clone();
    other.push(b' ');
    let mut slot = broker.slot();
    for body in [&garbage, &posing, &other] {
        stranger.publish(broker.topology(), WorkQueue::Refresh, body, BasicProperties::default()).await;
        settled(take(&mut slot).await.dead_letter(no_job())).await;
    }
    let letters = letters_of(&broker).await;
    assert_eq!(letters.len(), 3);
    for (letter, whole) in letters.iter().zip([&garbage, &posing, &other]) {
        assert_part(letter, whole);
    }
    assert_ne!(letters[1].id, letters[2].id, "two that begin alike are two");

    let mut queue = broker.dead_letters().await.unwrap();
    queue.list().await.unwrap();
    let results = queue.replay(&[letters[1].id.clone()], |_| Replay::AsRecorded).await;
    assert!(matches!(results[..], [(_, Err(DeadLetterError::Cut))]), "{results:?}");
    queue.close().await;
    assert_eq!(broker.queue_depths().await.unwrap().dead, 3, "a part is no job, and still there");
    broker.close().await;
}

#[tokio::test]
async fn headers_of_a_stranger_never_keep_a_message_from_its_end() {
    let broker = connect().await;
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let mut headers = FieldTable::default();
    // As much as a frame takes: RabbitMQ's frame_max is 128 KiB.
    for header in
        ["x-history", "x-last-error", "x-story", "traceparent", "x-leases-seen", "tracestate", "other"]
    {
        headers.insert(header.into(), AMQPValue::LongString("h".repeat(16 * 1024).into()));
    }
    headers.insert("x-attempt".into(), AMQPValue::LongLongInt(i64::from(u32::MAX)));
    headers.insert("x-handed-back".into(), AMQPValue::LongLongInt(i64::from(u32::MAX)));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_type("k".repeat(255).into())
        .with_content_type("c".repeat(255).into())
        .with_message_id("m".repeat(255).into());
    stranger.publish(broker.topology(), WorkQueue::OnDemand, b"no job", properties).await;
    let mut slot = broker.slot();
    settled(take(&mut slot).await.dead_letter(no_job())).await;
    let letters = letters_of(&broker).await;
    assert_eq!((letters.len(), letters[0].body.as_slice()), (1, b"no job".as_slice()));
    assert_eq!(letters[0].record.as_ref().unwrap().cut, None);
    broker.close().await;
}

#[tokio::test]
async fn a_broker_that_takes_less_than_it_took_gets_a_part() {
    let node = RabbitNode::start().await.unwrap();
    let fleet = fleet();
    let broker = connect_to(&node.amqp_url("/"), &fleet).await;
    let garbage = vec![0xff; 300 * 1024];
    let stranger = Stranger::at(&node.amqp_url("/")).await;
    stranger.publish(broker.topology(), WorkQueue::Refresh, &garbage, BasicProperties::default()).await;
    let mut large = job_of(&fleet);
    large.settings.owner = Some("x".repeat(200 * 1024));
    published(&broker.publisher(), &large, WorkQueue::Refresh).await.unwrap();
    broker.close().await;
    // As if the node had come back with another rabbitmq.conf; a channel knows the limit from its opening.
    node.control(&["eval", "application:set_env(rabbit, max_message_size, 65536)."]).await.unwrap();

    let broker = connect_to(&node.amqp_url("/"), &fleet).await;
    let mut slot = broker.slot();
    settled(take(&mut slot).await.dead_letter(no_job())).await;
    let delivery = take(&mut slot).await;
    let envelope = delivery.message().envelope.clone();
    settled(delivery.retry_after(DELAYS[0], envelope)).await;
    let letters = letters_of(&broker).await;
    assert_eq!(letters.len(), 2);
    assert_part(&letters[0], &garbage);
    assert_part(&letters[1], &large.encode());
    let record = letters[1].record.as_ref().unwrap();
    assert_eq!((record.job, record.target.as_ref()), (Some(large.id), Some(&large.target)));
    let failure = record.failure.as_ref().unwrap();
    assert!(failure.message.contains("max_message_size"), "{failure:?}");
    broker.close().await;
}

#[tokio::test]
async fn a_delay_queue_that_is_gone_is_gone_around() {
    let broker = connect().await;
    let id = submit(&broker, WorkQueue::Refresh).await.to_string();
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let gone = broker.topology().retries()[0].name.clone();
    stranger.channel.queue_delete(gone.into(), QueueDeleteOptions::default()).await.unwrap();
    let mut slot = broker.slot();
    let delivery = take(&mut slot).await;
    let envelope = Envelope { attempt: 2, ..delivery.message().envelope.clone() };
    settled(delivery.retry_after(DELAYS[0], envelope)).await;
    let again = take(&mut slot).await;
    assert_eq!((id_of(&again), again.message().envelope.attempt), (id, 2));
    ack(again).await;
    broker.close().await;
}
