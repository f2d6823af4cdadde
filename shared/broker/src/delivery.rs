//! A message in hand, and the five ways it ends; each takes the delivery, so it ends once.
//!
//! Invariant: the message that follows is confirmed before this one is acknowledged, and nothing is published once the
//! channel of this one is gone: somebody else has it then.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backoff::Backoff;
use chrono::{DateTime, Utc};
use job::{DeadLetterRecord, Envelope, FleetName, Job, JobDecodeError};
use lapin::options::BasicAckOptions;
use lapin::{Acker, BasicProperties};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::headers::{HeaderReader, HeaderWriter, ReadEnvelope};
use crate::publish::{Outgoing, Routing, properties};
use crate::slot_channel::SlotChannel;
use crate::{Broker, WorkQueue};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const REPUBLISH: Backoff = Backoff::constant(Duration::from_millis(100), 2.0, Duration::from_secs(5));

/// How long the end of one delivery is tried while the broker refuses it, before it is left to come again.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(10);

/// A message as it was delivered, with what its headers say.
#[derive(Debug, Clone)]
pub struct Message {
    /// The bytes, as they were published first.
    pub body: Vec<u8>,
    /// What travels beside them.
    pub envelope: Envelope,
    /// Headers that were there and could not be read.
    pub unreadable_headers: Vec<&'static str>,
    /// The message's id: the job's, for messages of ours.
    pub message_id: Option<String>,
    /// The queue it was taken from.
    pub queue: WorkQueue,
    /// The queue a retry comes back to.
    pub home: WorkQueue,
    /// Whether somebody may have had it before.
    pub redelivered: bool,
    /// How often it was delivered before without being acknowledged, as far as the broker knows.
    pub delivery_count: u32,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    tick: Option<String>,
    kind: Option<String>,
    content_type: Option<String>,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a lost delivery comes again: what was done for it must not be counted as its end"]
pub enum Settled {
    /// Acknowledged, and what follows is published.
    Done,
    /// Its channel is gone, or what follows could not be published: it comes again.
    Lost,
}

/// A message in hand. It must be settled by one of the methods that take it; one that is dropped comes again.
#[must_use = "settle it; dropped, it comes again to somebody"]
pub struct Delivery {
    message: Message,
    acker: Acker,
    channel: Arc<SlotChannel>,
    broker: Broker,
    lost: OnceLock<(CancellationToken, AbortOnDropHandle<()>)>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InHand,
    Ended,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("message_id", &self.message.message_id)
            .field("queue", &self.message.queue)
            .finish_non_exhaustive()
    }
}

impl Message {
    fn read(delivery: lapin::message::Delivery, queue: WorkQueue) -> (Self, Acker) {
        let lapin::message::Delivery { properties, data, acker, redelivered, .. } = delivery;
        let taken_at = Utc::now();
        let reader = HeaderReader::new(properties.headers().as_ref());
        let delivery_count =
            reader.number("x-delivery-count").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let home = match queue {
            WorkQueue::Resume => reader.home().unwrap_or(WorkQueue::Refresh),
            WorkQueue::OnDemand | WorkQueue::Refresh => queue,
        };
        let tick = reader.text("x-tick").filter(|tick| tick.len() <= 64).map(str::to_owned);
        let ReadEnvelope { envelope, unreadable } = reader.envelope(sent_at(&properties).unwrap_or(taken_at));
        let text =
            |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
        let message = Self {
            body: data,
            envelope,
            unreadable_headers: unreadable,
            message_id: text(properties.message_id()),
            queue,
            home,
            redelivered,
            delivery_count,
            taken_at,
            tick,
            kind: text(properties.kind()),
            content_type: text(properties.content_type()),
        };
        (message, acker)
    }

    /// The same bytes under the same id, with these headers.
    fn outgoing(&self, exchange: String, routing_key: &str, headers: HeaderWriter) -> Outgoing {
        let mut properties = properties(
            self.kind.as_deref().unwrap_or_default(),
            self.message_id.as_deref().unwrap_or_default(),
        )
        .with_headers(headers.finish());
        if let Some(content_type) = &self.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        Outgoing {
            exchange,
            routing_key: routing_key.to_owned(),
            properties,
            body: self.body.clone(),
            routing: Routing::Mandatory,
        }
    }

    fn headers(&self, envelope: &Envelope) -> HeaderWriter {
        HeaderWriter::of(envelope, self.home, self.tick.clone())
    }
}

/// The message's own time.
pub(crate) fn sent_at(properties: &BasicProperties) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from((*properties.timestamp())?).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

impl Delivery {
    pub(crate) fn new(
        delivery: lapin::message::Delivery,
        queue: WorkQueue,
        channel: Arc<SlotChannel>,
        broker: Broker,
    ) -> Self {
        let (message, acker) = Message::read(delivery, queue);
        Self { message, acker, channel, broker, lost: OnceLock::new(), state: State::InHand }
    }

    /// The message that this delivery is of.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The envelope that a dead letter or a hand-back carries on.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.message.envelope
    }

    /// The job in it, if it is one of this fleet.
    pub fn job(&self, fleet: &FleetName) -> Result<Job, JobDecodeError> {
        Job::decode(&self.message.body, fleet)
    }

    /// Cancelled once the channel of this delivery is gone: somebody else has the message then.
    pub fn lost(&self) -> CancellationToken {
        let watch = || {
            let (token, channel, acker) =
                (CancellationToken::new(), self.channel.clone(), self.acker.clone());
            let lost = token.clone();
            let task = tokio::spawn(async move {
                let mut look = interval(LOOK_EVERY);
                look.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !channel.is_gone() && !acker.poisoned() {
                    tokio::select! {
                        () = channel.live.lost().cancelled() => break,
                        _ = look.tick() => {}
                    }
                }
                lost.cancel();
            });
            (token, AbortOnDropHandle::new(task))
        };
        self.lost.get_or_init(watch).0.clone()
    }

    /// Whether the channel of this delivery is gone.
    pub fn is_lost(&self) -> bool {
        self.acker.poisoned() || self.channel.is_gone()
    }

    /// Acknowledges: the job is done and nothing is published for it.
    pub async fn ack(mut self) -> Settled {
        self.acknowledge().await
    }

    /// Comes back to its work queue after at least `delay` (the next longer delay queue), with this envelope.
    pub async fn retry_after(self, delay: Duration, envelope: Envelope) -> Settled {
        let Some(retry) = self.broker.inner.topology.retry_of_at_least(delay) else {
            // Without delay queues "later" can only mean "at the end of the queue".
            let key = self.message.home;
            return self.hand_to(key, envelope).await;
        };
        let headers = self.message.headers(&now(envelope));
        let next = self.message.outgoing(retry.name.clone(), self.message.home.as_str(), headers);
        self.replace_by(next).await
    }

    /// Goes to the dead-letter queue: the original bytes, the envelope of [`Self::envelope_mut`], and the record.
    pub async fn dead_letter(self, record: DeadLetterRecord) -> Settled {
        let headers = self.message.headers(&self.message.envelope).with_record(&record);
        let next =
            self.message.outgoing(self.broker.inner.topology.dlx(), self.message.home.as_str(), headers);
        self.replace_by(next).await
    }

    /// Goes to the resume queue, where the next free slot takes it first.
    pub async fn hand_back(self, envelope: Envelope) -> Settled {
        self.hand_to(WorkQueue::Resume, envelope).await
    }

    /// It is another's already: publishes nothing, acknowledges nothing.
    pub fn drop_lost(mut self) {
        self.state = State::Ended;
        self.let_go();
    }

    async fn hand_to(self, queue: WorkQueue, envelope: Envelope) -> Settled {
        let headers = self.message.headers(&now(envelope));
        let next = self.message.outgoing(self.broker.inner.topology.jobs_exchange(), queue.as_str(), headers);
        self.replace_by(next).await
    }

    /// Publishes what follows until it is confirmed, then acknowledges. An unknown confirm is published again: a second
    /// copy is recognised, a missing one is not.
    async fn replace_by(mut self, next: Outgoing) -> Settled {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut pauses = REPUBLISH.pauses();
        loop {
            if self.is_lost() {
                return self.come_again("its channel is gone");
            }
            let error = match self.broker.inner.publisher.publish(&next).await {
                Ok(()) => return self.acknowledge().await,
                Err(error) => error,
            };
            tracing::warn!(
                job.id = self.message.message_id, destination = next.destination(), error = %error_chain::line(&error),
                "what follows a delivery is not published yet, trying on"
            );
            if Instant::now() >= deadline {
                return self.come_again("what follows could not be published");
            }
            sleep(pauses.next_pause()).await;
        }
    }

    async fn acknowledge(&mut self) -> Settled {
        if self.is_lost() {
            return self.come_again("its channel is gone");
        }
        let limit = self.broker.inner.settings.section.publish_timeout;
        match timeout(limit, self.acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => {
                self.state = State::Ended;
                Settled::Done
            }
            // The client says "no" instead of failing when the channel is gone.
            Ok(Ok(false) | Err(_)) | Err(_) => self.come_again("its channel was gone at the acknowledgement"),
        }
    }

    fn come_again(&mut self, why: &str) -> Settled {
        tracing::warn!(
            job.id = self.message.message_id,
            queue = self.message.queue.as_str(),
            why,
            "delivery lost"
        );
        self.state = State::Ended;
        self.let_go();
        Settled::Lost
    }

    /// Closes the channel, so that the broker gives the message to somebody else at once.
    fn let_go(&self) {
        let channel = self.channel.clone();
        if channel.is_gone() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = channel.channel.close(200, "delivery not settled".into()).await {
                    tracing::debug!(%error, "channel closed uncleanly");
                }
            });
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.state == State::InHand {
            tracing::error!(
                job.id = self.message.message_id,
                queue = self.message.queue.as_str(),
                "a delivery was dropped without an end: it comes again"
            );
            self.let_go();
        }
    }
}

fn now(mut envelope: Envelope) -> Envelope {
    envelope.enqueued = Utc::now();
    envelope
}
