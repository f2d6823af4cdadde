//! The broker crate against real nodes: what it promises when all is well, and what it keeps when it is not.

use std::ops::Deref;
use std::time::Duration;

use ::broker::{
    Broker, BrokerSettings, Delivery, PublishError, Publisher, Settled, Slot, Topology, WorkQueue,
};
use chrono::Utc;
use fleet_tests::eventually;
use fleet_tests::rabbit::{RabbitNode, VirtualHost, virtual_host};
use job::{Envelope, FleetName, Job, JobId, Reason};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;

mod checkpoints;
mod deadletters;
mod deliveries;
mod outages;
mod register;
mod streams;
mod topology;
mod undeliverable;

const SOON: Duration = Duration::from_mins(2);
const DELAYS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(600), Duration::from_secs(2)];

/// A fleet that nobody else has.
fn fleet() -> FleetName {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("b{}", &unique[..8]).parse().unwrap()
}

fn settings(amqp_url: &str, fleet: &FleetName) -> BrokerSettings {
    BrokerSettings::new(amqp_url.into(), fleet.clone(), DELAYS.to_vec(), crate::sections::broker())
}

/// A broker handle of a new fleet in a virtual host that is there as long as this.
struct Private {
    broker: Broker,
    host: VirtualHost,
}

impl Deref for Private {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

async fn connect() -> Private {
    let host = virtual_host().await;
    Private { broker: connect_to(&host.amqp_url(), &fleet()).await, host }
}

async fn connect_to(amqp_url: &str, fleet: &FleetName) -> Broker {
    Broker::connect(settings(amqp_url, fleet)).await.unwrap()
}

fn job_of(fleet: &FleetName) -> Job {
    let mut value: serde_json::Value =
        serde_json::from_str(include_str!("../../shared/job/src/message/golden-v1.json")).unwrap();
    value["fleet"] = fleet.as_str().into();
    let mut job: Job = serde_json::from_value(value).unwrap();
    job.id = JobId::on_demand();
    job.reason = Reason::OnDemand;
    job
}

fn fleet_of(broker: &Broker) -> FleetName {
    let name = broker.topology().jobs_exchange();
    name.split('.').nth(1).unwrap().parse().unwrap()
}

fn first() -> Envelope {
    Envelope::first(Utc::now(), std::collections::BTreeMap::new())
}

async fn submit(broker: &Broker, queue: WorkQueue) -> JobId {
    let job = job_of(&fleet_of(broker));
    published(&broker.publisher(), &job, queue).await.unwrap();
    job.id
}

async fn published(publisher: &Publisher, job: &Job, queue: WorkQueue) -> Result<(), PublishError> {
    publisher.publish_job(job, &first(), queue).await
}

/// The next delivery, within a bound.
async fn take(slot: &mut Slot) -> Delivery {
    let taken = tokio::time::timeout(SOON, slot.take(&CancellationToken::new())).await;
    taken.expect("nothing was delivered in time").expect("the handle is open")
}

fn id_of(delivery: &Delivery) -> String {
    delivery.message().message_id.clone().unwrap_or_default()
}

async fn ack(delivery: Delivery) {
    assert_eq!(delivery.ack().await, Settled::Done);
}

/// A client that is not ours.
struct Stranger {
    _connection: Connection,
    channel: Channel,
}

impl Stranger {
    async fn at(amqp_url: &str) -> Self {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
        Self { _connection: connection, channel }
    }

    async fn publish(&self, topology: &Topology, queue: WorkQueue, body: &[u8], properties: BasicProperties) {
        let confirm = self
            .channel
            .basic_publish(
                topology.jobs_exchange().into(),
                queue.as_str().into(),
                BasicPublishOptions { mandatory: true, immediate: false },
                body,
                properties,
            )
            .await
            .unwrap();
        assert!(confirm.await.unwrap().is_ack());
    }
}

async fn eventually_depth(broker: &Broker, what: &str, wanted: impl Fn(&::broker::QueueDepths) -> bool) {
    eventually(SOON, what, async || match broker.queue_depths().await {
        Ok(depths) if wanted(&depths) => Ok(()),
        Ok(depths) => Err(format!("{depths:?}")),
        Err(error) => Err(error.to_string()),
    })
    .await;
}
