//! Checkpoints of the register: who begins late knows what everybody knows, however much of the stream is gone.

use ::broker::{CheckpointWritten, Register};
use job::{Concern, Folded, LostSandbox, RegisterEntry, Target, TargetState};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};

use super::*;

fn target(number: u32) -> Target {
    format!("owner/name{number}@main").parse().unwrap()
}

fn lost() -> Concern {
    let commit = "c".repeat(40).parse().unwrap();
    let fingerprint = job::Fingerprint::from_hex(&"f".repeat(64)).unwrap();
    Concern::LostSandbox(Some(LostSandbox { commit, fingerprint, at: Utc::now() }))
}

async fn note(register: &Register, number: u32) {
    assert_eq!(register.append(&target(number), lost(), SOON).await.unwrap(), Folded::Taken);
}

async fn write(broker: &Broker, register: &Register) -> CheckpointWritten {
    register.write_checkpoint(&broker.publisher(), SOON).await.unwrap()
}

/// What a program knows that begins to read now, and how much of what it read it could not.
async fn known_to_another(broker: &Broker) -> (Vec<TargetState>, u64) {
    let late = Register::follow(broker);
    late.sync(SOON).await.unwrap();
    (states(&late), late.undecodable())
}

fn states(register: &Register) -> Vec<TargetState> {
    register.targets().iter().map(|state| TargetState::clone(state)).collect()
}

/// Puts a message into the stream that none of our programs writes.
async fn put_raw(stranger: &Stranger, stream: String, body: &[u8]) {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = BasicProperties::default().with_type("harvest.register".into());
    let sent = stranger.channel.basic_publish("".into(), stream.into(), options, body, properties).await;
    assert!(sent.unwrap().await.unwrap().is_ack());
}

#[tokio::test]
async fn who_begins_at_a_checkpoint_knows_what_everybody_knows() {
    let broker = connect().await;
    let register = Register::follow(&broker);
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let stream = broker.topology().register_stream();
    for number in 0..2500 {
        register.note(&target(number), lost()).await.unwrap();
    }
    put_raw(&stranger, stream.clone(), b"no entry at all").await;
    put_raw(&stranger, stream.clone(), br#"{"kind":"of_tomorrow","target":"owner/name1@main"}"#).await;
    register.sync(SOON).await.unwrap();
    assert_eq!(known_to_another(&broker).await, (states(&register), 2));
    assert_eq!(register.checkpoint_status().entries_since, 2500);

    let written = write(&broker, &register).await;
    assert_eq!(written.targets, 2500);
    register.sync(SOON).await.unwrap();
    assert_eq!(register.checkpoint_status().entries_since, 0);
    // From the oldest entry on it would have met both; what may be a newer program's entry goes along.
    assert_eq!(known_to_another(&broker).await, (states(&register), 1));

    for number in 2400..2600 {
        note(&register, number).await;
    }
    let (known, _) = known_to_another(&broker).await;
    assert_eq!(known, states(&register));
    assert_eq!(known.len(), 2600);

    // One whose writer died, and a second whole one.
    let id = uuid::Uuid::now_v7();
    register.put(&RegisterEntry::CheckpointBegins { id }).await.unwrap();
    note(&register, 7).await;
    assert_eq!(known_to_another(&broker).await.0, states(&register));
    write(&broker, &register).await;
    assert_eq!(known_to_another(&broker).await, (states(&register), 1));
    broker.close().await;
}

#[tokio::test]
async fn what_aged_out_of_the_stream_is_in_the_checkpoint() {
    const SEGMENT: usize = 20_000_000;
    let node = RabbitNode::start().await.unwrap();
    let broker = connect_to(&node.amqp_url("/"), &fleet()).await;
    let stranger = Stranger::at(&node.amqp_url("/")).await;
    let (stream, pointers) = (broker.topology().register_stream(), broker.topology().checkpoints_stream());
    let policy = format!(r#"{{"max-length-bytes":{}}}"#, SEGMENT * 3 / 2);
    node.control(&["set_policy", "--apply-to", "queues", "short", &format!("^{stream}$"), &policy])
        .await
        .unwrap();
    let fill = async |bytes: usize| {
        for _ in 0..bytes / 1_000_000 {
            put_raw(&stranger, stream.clone(), &vec![b'x'; 1_000_000]).await;
        }
    };
    let register = Register::follow(&broker);
    for number in 0..10 {
        note(&register, number).await;
    }
    fill(SEGMENT + SEGMENT / 2).await;
    write(&broker, &register).await;
    note(&register, 10).await;
    // The segment before the checkpoint's is over the limit once the next is begun.
    fill(SEGMENT).await;
    let all = states(&register);
    assert_eq!(all.len(), 11);
    assert_eq!(known_to_another(&broker).await.0, all);

    // Without a word of where it begins it is found on the way from the oldest entry that is left.
    stranger.channel.queue_delete(pointers.into(), QueueDeleteOptions::default()).await.unwrap();
    let again = connect_to(&node.amqp_url("/"), &fleet_of(&broker)).await;
    assert_eq!(known_to_another(&again).await.0, all);
    let late = Register::follow(&again);
    late.sync(SOON).await.unwrap();
    assert!(late.undecodable() < 50, "the first segment is still there: nothing aged out");
    again.close().await;
    broker.close().await;
}

#[tokio::test]
async fn a_checkpoint_of_another_stream_is_no_checkpoint() {
    let broker = connect().await;
    let register = Register::follow(&broker);
    note(&register, 1).await;
    let before = register.checkpoint_status().entries_since;
    write(&broker, &register).await;
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let stream = broker.topology().register_stream();
    stranger.channel.queue_delete(stream.into(), QueueDeleteOptions::default()).await.unwrap();
    let fleet = fleet_of(&broker);
    let again = connect_to(&broker.host.amqp_url(), &fleet).await;
    // As many entries as it takes for the place to be there, with another message.
    let writing = Register::follow(&again);
    for number in 2..20 {
        note(&writing, number).await;
    }
    assert!(before < 18);
    assert_eq!(known_to_another(&again).await.0, states(&writing));
    assert_eq!(writing.targets().len(), 18);
    again.close().await;
    broker.close().await;
}
