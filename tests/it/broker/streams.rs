//! The register and the ledger.

use ::broker::{Ledger, ReadFrom, Register};
use job::{FleetState, LedgerEntry, LedgerEvent, RegisterEntry, Target, TargetState, Tick};

use super::*;

fn target(number: u32) -> Target {
    format!("owner/name{number}@main").parse().unwrap()
}

/// An entry that differs by its time.
async fn put(register: &Register, number: u32, at: &str) {
    let state = TargetState::new(target(number), at.parse().unwrap());
    register.put(&RegisterEntry::Target(Box::new(state))).await.unwrap();
}

fn time(register: &Register, number: u32) -> Option<String> {
    register.get(&target(number)).map(|state| state.updated_at.to_rfc3339())
}

#[tokio::test]
async fn the_register_has_the_newest_entry_and_survives_a_restart() {
    let mut node = RabbitNode::start().await.unwrap();
    let broker = connect_to(&node.amqp_url("/"), &fleet()).await;
    let register = Register::follow(&broker);
    register.sync(SOON).await.unwrap();
    assert_eq!(time(&register, 1), None);
    for day in 10..20 {
        put(&register, 1, &format!("2026-11-{day}T00:00:00Z")).await;
    }
    put(&register, 2, "2026-11-01T00:00:00Z").await;
    let tick = Tick::at_or_before(Utc::now(), Duration::from_mins(30));
    register.put(&RegisterEntry::Fleet(FleetState { last_tick: Some(tick), since: None })).await.unwrap();
    register.sync(SOON).await.unwrap();
    assert_eq!(time(&register, 1).unwrap(), "2026-11-19T00:00:00+00:00");
    assert_eq!(register.targets().len(), 2);
    assert_eq!(register.fleet().last_tick, Some(tick));

    node.restart().await.unwrap();
    register.sync(SOON).await.unwrap();
    put(&register, 1, "2026-12-24T00:00:00Z").await;
    register.sync(SOON).await.unwrap();
    assert_eq!(time(&register, 1).unwrap(), "2026-12-24T00:00:00+00:00");
    assert_eq!(time(&register, 2).unwrap(), "2026-11-01T00:00:00+00:00", "what was read before is kept");

    let late = Register::follow(&broker);
    late.sync(SOON).await.unwrap();
    assert_eq!(late.targets(), register.targets());
    broker.close().await;
}

#[tokio::test]
async fn a_register_whose_stream_was_lost_is_empty_and_goes_on() {
    let broker = connect().await;
    let register = Register::follow(&broker);
    for number in 0..5 {
        put(&register, number, "2026-11-23T00:00:00Z").await;
    }
    register.sync(SOON).await.unwrap();
    let stranger = Stranger::at(&broker.host.amqp_url()).await;
    let stream = broker.topology().register_stream();
    stranger
        .channel
        .queue_delete(stream.into(), lapin::options::QueueDeleteOptions::default())
        .await
        .unwrap();
    // Every connection declares the topology, so the stream is there again, and empty.
    broker.host.close_connections().await.unwrap();
    eventually(SOON, "the stream is there again", async || {
        register.sync(Duration::from_secs(15)).await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(register.targets().len(), 0);
    put(&register, 7, "2026-11-24T00:00:00Z").await;
    register.sync(SOON).await.unwrap();
    assert_eq!(time(&register, 7).unwrap(), "2026-11-24T00:00:00+00:00");
    broker.close().await;
}

fn entry(number: u64) -> LedgerEntry {
    let tick = Tick::at_or_before(Utc::now(), Duration::from_secs(1));
    LedgerEntry::new(Utc::now(), "test", LedgerEvent::TickFired { tick, jobs: number })
}

fn number(entry: &LedgerEntry) -> u64 {
    let LedgerEvent::TickFired { jobs, .. } = entry.event else { panic!("{entry:?}") };
    jobs
}

#[tokio::test]
async fn a_ledger_is_read_or_followed_past_what_cannot_be_read() {
    let mut node = RabbitNode::start().await.unwrap();
    let broker = connect_to(&node.amqp_url("/"), &fleet()).await;
    let publisher = broker.publisher();
    let mut empty = Ledger::until_now(&broker, ReadFrom::First).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, empty.next()).await.unwrap(), None);
    for number in 0..300 {
        publisher.publish_ledger(&entry(number)).await.unwrap();
    }
    let stranger = Stranger::at(&node.amqp_url("/")).await;
    let (stream, options) = (broker.topology().ledger_stream(), BasicPublishOptions::default());
    let confirm =
        stranger.channel.basic_publish("".into(), stream.into(), options, b"?", BasicProperties::default());
    assert!(confirm.await.unwrap().await.unwrap().is_ack());
    for number in 300..600 {
        publisher.publish_ledger(&entry(number)).await.unwrap();
    }
    for from in [ReadFrom::First, ReadFrom::Last(Duration::from_hours(1))] {
        let mut ledger = Ledger::until_now(&broker, from).await.unwrap();
        let mut read = Vec::new();
        while let Some(entry) = tokio::time::timeout(SOON, ledger.next()).await.unwrap() {
            read.push(number(&entry));
        }
        assert_eq!(read, (0..600).collect::<Vec<_>>());
        assert_eq!(ledger.undecodable(), 1);
    }

    let mut following = Ledger::follow(&broker, ReadFrom::First);
    for expected in 0..600 {
        let next = tokio::time::timeout(SOON, following.next()).await.unwrap().unwrap();
        assert_eq!(number(&next), expected);
    }
    node.restart().await.unwrap();
    eventually(SOON, "an entry after the restart", async || {
        publisher.publish_ledger(&entry(600)).await.map_err(|error| error.to_string())
    })
    .await;
    let next = tokio::time::timeout(SOON, following.next()).await.unwrap().unwrap();
    assert_eq!(number(&next), 600, "nothing twice, nothing left out");
    broker.close().await;
}

#[tokio::test]
async fn control_messages_reach_every_process_that_listens() {
    let broker = connect().await;
    let mut listeners = [broker.follow_control(), broker.follow_control()];
    for listener in &mut listeners {
        // Until it is bound nothing reaches it, so say it again until somebody heard.
        eventually(SOON, "a control message", async || {
            broker.publisher().publish_control(b"pause".to_vec()).await.map_err(|error| error.to_string())?;
            let heard = tokio::time::timeout(Duration::from_millis(200), listener.next()).await;
            heard.map_err(|_| String::from("nothing heard")).map(|heard| assert_eq!(heard.unwrap(), b"pause"))
        })
        .await;
    }
    broker.close().await;
}
