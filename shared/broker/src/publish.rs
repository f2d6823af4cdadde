//! Publishing: persistent, mandatory, confirmed, and with a deadline, or an error that says which of these failed.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use job::{Envelope, Job, LedgerEntry, Reason, RegisterEntry};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::connection::LiveConnection;
use crate::error::{PRECONDITION_FAILED, PublishError, reply_code};
use crate::headers::HeaderWriter;
use crate::link::Link;
use crate::pool::{ChannelPool, Checkout, ConfirmChannel, confirm_channels};
use crate::{Topology, WorkQueue};

/// Register and ledger entries beyond this are a mistake, not a message.
const MAX_ENTRY_BYTES: usize = 1024 * 1024;
/// What every supported broker takes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

pub(crate) const JOB_TYPE: &str = "harvest.job";
pub(crate) const REGISTER_TYPE: &str = "harvest.register";
pub(crate) const LEDGER_TYPE: &str = "harvest.ledger";
/// A part of a checkpoint of the register: lines, compressed.
pub(crate) const CHECKPOINT_PART_TYPE: &str = "harvest.checkpoint-part";
/// Where a checkpoint begins.
pub(crate) const CHECKPOINT_TYPE: &str = "harvest.checkpoint";
/// A message of the ledger's stream that is no entry: who sees it has seen everything before it.
pub(crate) const MARK_TYPE: &str = "harvest.mark";

/// Publishes messages. Clones share the channels and the connection.
#[derive(Clone)]
pub struct Publisher {
    link: Link,
    pub(crate) pool: ChannelPool,
    pub(crate) topology: Arc<Topology>,
    pub(crate) timeout: Duration,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A message ready to be published, as often as it takes.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
    pub(crate) routing: Routing,
}

/// Whether a message that no queue takes is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routing {
    Mandatory,
    /// Announcements, which may have no listener.
    Optional,
}

impl Outgoing {
    pub(crate) fn destination(&self) -> String {
        if self.exchange.is_empty() {
            self.routing_key.clone()
        } else {
            format!("{} {}", self.exchange, self.routing_key)
        }
    }

    /// The same bytes for the same job, whichever producer makes them.
    pub(crate) fn job(
        topology: &Topology,
        job: &Job,
        envelope: &Envelope,
        queue: WorkQueue,
    ) -> Result<Self, PublishError> {
        let body = job.encode();
        check_size(body.len(), job::MAX_JOB_BYTES)?;
        let tick = match job.reason {
            Reason::Scheduled { tick } => Some(tick.to_string()),
            Reason::OnDemand | Reason::Replay => None,
        };
        let home = home_of(queue, &job.reason);
        let headers = HeaderWriter::of(envelope, home, tick).finish();
        let properties = properties(JOB_TYPE, &job.id.to_string()).with_headers(headers);
        Ok(Self {
            exchange: topology.jobs_exchange(),
            routing_key: queue.as_str().to_owned(),
            properties,
            body,
            routing: Routing::Mandatory,
        })
    }

    /// An entry of a stream, through the default exchange.
    pub(crate) fn entry<T: Serialize>(stream: String, kind: &str, entry: &T) -> Result<Self, PublishError> {
        let body = serde_json::to_vec(entry)
            .unwrap_or_else(|error| unreachable!("entries have only string keys: {error}"));
        check_size(body.len(), MAX_ENTRY_BYTES)?;
        Ok(Self {
            exchange: String::new(),
            routing_key: stream,
            properties: properties(kind, &Uuid::now_v7().to_string()),
            body,
            routing: Routing::Mandatory,
        })
    }
}

/// Where a retry of the job leads back to.
fn home_of(queue: WorkQueue, reason: &Reason) -> WorkQueue {
    match (queue, reason) {
        (WorkQueue::Refresh | WorkQueue::OnDemand, _) => queue,
        (WorkQueue::Resume, Reason::Scheduled { .. }) => WorkQueue::Refresh,
        (WorkQueue::Resume, Reason::OnDemand | Reason::Replay) => WorkQueue::OnDemand,
    }
}

/// The properties every message of ours has.
pub(crate) fn properties(kind: &str, message_id: &str) -> BasicProperties {
    BasicProperties::default()
        // 2 is persistent.
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(message_id.into())
        .with_type(kind.into())
        .with_timestamp(u64::try_from(Utc::now().timestamp()).unwrap_or_default())
}

pub(crate) fn check_size(bytes: usize, limit: usize) -> Result<(), PublishError> {
    if bytes > limit { Err(PublishError::TooLarge { bytes, limit }) } else { Ok(()) }
}

impl Publisher {
    pub(crate) fn over(link: Link, topology: Arc<Topology>, timeout: Duration) -> Self {
        Self { pool: confirm_channels(link.clone(), timeout), link, topology, timeout }
    }

    /// Publishes one job and waits for its confirm.
    pub async fn publish_job(
        &self,
        job: &Job,
        envelope: &Envelope,
        queue: WorkQueue,
    ) -> Result<(), PublishError> {
        self.publish(&Outgoing::job(&self.topology, job, envelope, queue)?).await
    }

    /// Publishes an entry of the register. It is visible to readers once it comes back through the stream.
    pub async fn publish_register(&self, entry: &RegisterEntry) -> Result<(), PublishError> {
        self.publish(&Outgoing::entry(self.topology.register_stream(), REGISTER_TYPE, entry)?).await
    }

    /// Publishes an entry of the ledger.
    pub async fn publish_ledger(&self, entry: &LedgerEntry) -> Result<(), PublishError> {
        self.publish(&Outgoing::entry(self.topology.ledger_stream(), LEDGER_TYPE, entry)?).await
    }

    /// Publishes one message within the timeout.
    pub(crate) async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        check_size(message.body.len(), MAX_MESSAGE_BYTES)?;
        let deadline = Instant::now() + self.timeout;
        let checkout = self.checkout(deadline).await?;
        let ConfirmChannel { channel, live } = checkout.get();
        let answer = timeout_at(deadline, async { send(channel, message).await?.await }).await;
        match answer {
            Err(_elapsed) => {
                // Silence on an open connection: a blocked one answers later, any other is not worth waiting for.
                if live.blocked().borrow().is_none() {
                    live.give_up();
                }
                Err(PublishError::Unknown(None))
            }
            Ok(Err(error)) => Err(refused_or_unknown(error, message.body.len())),
            Ok(Ok(confirmation)) => {
                checkout.give_back();
                judge(&confirmation, message)
            }
        }
    }

    /// A channel to publish on now. On a blocked connection even opening one hangs, so that is asked first.
    pub(crate) async fn checkout(&self, deadline: Instant) -> Result<Checkout, PublishError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let live = self.link.live(patience).await.map_err(|_| PublishError::Disconnected)?;
        wait_unblocked(&live, deadline).await?;
        match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(object)) => Ok(Checkout::new(object)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no channel to publish on");
                Err(PublishError::Disconnected)
            }
            Err(_elapsed) => Err(PublishError::Disconnected),
        }
    }
}

pub(crate) async fn send(channel: &lapin::Channel, message: &Outgoing) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: message.routing == Routing::Mandatory, immediate: false };
    channel
        .basic_publish(
            message.exchange.as_str().into(),
            message.routing_key.as_str().into(),
            options,
            &message.body,
            message.properties.clone(),
        )
        .await
}

/// A publish whose channel was closed. Of what we publish, only the size can be against RabbitMQ's preconditions (406).
fn refused_or_unknown(error: lapin::Error, bytes: usize) -> PublishError {
    if reply_code(&error) == Some(PRECONDITION_FAILED) {
        PublishError::LargerThanTheBrokerTakes { bytes }
    } else {
        PublishError::Unknown(Some(error.into()))
    }
}

/// What a confirmation means. A message nobody took is confirmed too: it comes back inside the acknowledgement.
pub(crate) fn judge(confirmation: &Confirmation, message: &Outgoing) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
            Err(PublishError::Unroutable { destination: message.destination() })
        }
        Confirmation::Nack(None) => Err(PublishError::QueueFull { destination: message.destination() }),
        Confirmation::NotRequested => Err(PublishError::Unknown(None)),
    }
}

/// A publish on a blocked connection hangs and cannot be taken back, so none is begun.
pub(crate) async fn wait_unblocked(live: &LiveConnection, deadline: Instant) -> Result<(), PublishError> {
    let mut blocked = live.blocked();
    let unblocked = timeout_at(deadline, blocked.wait_for(Option::is_none)).await;
    match unblocked {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(PublishError::Disconnected),
        Err(_elapsed) => Err(PublishError::Blocked),
    }
}
