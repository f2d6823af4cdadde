//! A message in hand, and the five ways it ends; each takes the delivery, so it ends once.
//!
//! Invariant: the message that follows is confirmed before this one is acknowledged, and nothing is published once the
//! channel of this one is gone: somebody else has it then.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backoff::Backoff;
use chrono::Utc;
use job::{DeadLetterRecord, Envelope, FleetName, Job, JobDecodeError};
use lapin::Acker;
use lapin::options::BasicAckOptions;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::Inner;
use crate::error::PublishError;
use crate::follow_up::FollowUp;
use crate::message::Message;
use crate::slot_channel::SlotChannel;
use crate::{Broker, WorkQueue};

const CHECK_INTERVAL: Duration = Duration::from_millis(500);
const REPUBLISH: Backoff = Backoff::constant(Duration::from_millis(100), 2.0, Duration::from_secs(5));

/// How long the end of one delivery is tried while the broker refuses it, before it is left to come again.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(10);

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
    Unsettled,
    Settled,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("message_id", &self.message.message_id)
            .field("queue", &self.message.queue)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(
        delivery: lapin::message::Delivery,
        queue: WorkQueue,
        channel: Arc<SlotChannel>,
        broker: Broker,
    ) -> Self {
        let (message, acker) = Message::read(delivery, queue);
        Self { message, acker, channel, broker, lost: OnceLock::new(), state: State::Unsettled }
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
                let mut check = interval(CHECK_INTERVAL);
                check.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !channel.is_gone() && !acker.poisoned() {
                    tokio::select! {
                        () = channel.live.lost().cancelled() => break,
                        _ = check.tick() => {}
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
        let ways: Vec<_> =
            self.broker.inner.topology.retries_for(delay).map(|retry| retry.name.clone()).collect();
        let Some((first, detours)) = ways.split_first() else {
            // Without delay queues "later" can only mean "at the end of the queue".
            let key = self.message.home;
            return self.republish_to(key, envelope).await;
        };
        let headers = self.message.headers(&now(envelope));
        let next = self.message.outgoing(first.clone(), self.message.home.as_str(), headers);
        self.publish_then_ack(FollowUp::another_try(next, detours.to_vec())).await
    }

    /// Goes to the dead-letter queue: the original bytes, the envelope of [`Self::envelope_mut`], and the record. Of bytes that
    /// are more than can be published, the beginning, and the record says so.
    pub async fn dead_letter(self, record: DeadLetterRecord) -> Settled {
        let headers = self.message.headers(&self.message.envelope).with_record(&record);
        let next =
            self.message.outgoing(self.broker.inner.topology.dlx(), self.message.home.as_str(), headers);
        self.publish_then_ack(FollowUp::dead_letter(next, record)).await
    }

    /// Goes to the resume queue, where the next free slot takes it first.
    pub async fn hand_back(self, envelope: Envelope) -> Settled {
        self.republish_to(WorkQueue::Resume, envelope).await
    }

    /// It is another's already: publishes nothing, acknowledges nothing.
    pub fn drop_lost(mut self) {
        self.state = State::Settled;
        self.release_channel();
    }

    async fn republish_to(self, queue: WorkQueue, envelope: Envelope) -> Settled {
        let headers = self.message.headers(&now(envelope));
        let next = self.message.outgoing(self.broker.inner.topology.jobs_exchange(), queue.as_str(), headers);
        self.publish_then_ack(FollowUp::another_try(next, Vec::new())).await
    }

    /// Publishes what follows until it is confirmed, then acknowledges. An unknown confirm is published again: a second
    /// copy is recognised, a missing one is not. What nothing takes whole is dead-lettered in part.
    async fn publish_then_ack(mut self, mut next: FollowUp) -> Settled {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut pauses = REPUBLISH.pauses();
        loop {
            if self.is_lost() {
                return self.abandon("its channel is gone");
            }
            let error = match self.broker.inner.publisher.publish(&next.message).await {
                Ok(()) => return self.acknowledge().await,
                Err(error) => error,
            };
            tracing::warn!(
                job.id = self.message.message_id, destination = next.message.destination(), error = %error_chain::line(&error),
                "what follows a delivery is not published yet, trying on"
            );
            if next.take_detour(&error) || (error.is_final() && self.cut(&mut next, &error)) {
                continue;
            }
            if Instant::now() >= deadline {
                return self.abandon("what follows could not be published");
            }
            sleep(pauses.next_pause()).await;
        }
    }

    fn cut(&self, next: &mut FollowUp, why: &PublishError) -> bool {
        let Inner { topology, settings, .. } = &*self.broker.inner;
        next.cut(&self.message, topology.dlx(), &settings.fleet, why)
    }

    async fn acknowledge(&mut self) -> Settled {
        if self.is_lost() {
            return self.abandon("its channel is gone");
        }
        let limit = self.broker.inner.settings.section.publish_timeout;
        match timeout(limit, self.acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => {
                self.state = State::Settled;
                Settled::Done
            }
            // The client says "no" instead of failing when the channel is gone.
            Ok(Ok(false) | Err(_)) | Err(_) => self.abandon("its channel was gone at the acknowledgement"),
        }
    }

    fn abandon(&mut self, why: &str) -> Settled {
        tracing::warn!(
            job.id = self.message.message_id,
            queue = self.message.queue.as_str(),
            why,
            "delivery lost"
        );
        self.state = State::Settled;
        self.release_channel();
        Settled::Lost
    }

    /// Closes the channel, so that the broker gives the message to somebody else at once.
    fn release_channel(&self) {
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
        if self.state == State::Unsettled {
            tracing::error!(
                job.id = self.message.message_id,
                queue = self.message.queue.as_str(),
                "a delivery was dropped without an end: it comes again"
            );
            self.release_channel();
        }
    }
}

fn now(mut envelope: Envelope) -> Envelope {
    envelope.enqueued = Utc::now();
    envelope
}
