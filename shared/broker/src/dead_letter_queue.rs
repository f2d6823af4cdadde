//! The dead-letter queue as one operator at a time works through it, under a lock: two who listed it at once would each
//! see half, and could replay one letter twice.
//!
//! Invariant: nothing leaves the queue but by an act on it; what was only listed goes back when it is closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;
use job::{Envelope, Job};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use thiserror::Error;
use tokio::time::timeout;
use uuid::Uuid;

use crate::dead_letter::{DeadLetter, DeadLetterId};
use crate::error::{BrokerError, PublishError};
use crate::headers::HeaderWriter;
use crate::lock::{Lock, LockError};
use crate::publish::Outgoing;
use crate::queue_watcher::depth;
use crate::{Broker, LockName, Topology, WorkQueue};

/// The most AMQP lets one consumer hold; a queue deeper than this has to be listed several times.
pub const MAX_LISTED: usize = u16::MAX as usize;

/// How long the next of the letters that were counted may take to arrive.
const STILL_COMING: Duration = Duration::from_secs(3);
/// How long to wait for another once all that were counted have arrived.
const NO_MORE: Duration = Duration::from_millis(150);
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why something was not done with a dead letter.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// No such letter in the last list.
    #[error("no dead letter `{0}` is listed")]
    NotListed(DeadLetterId),
    /// The caller decided against it.
    #[error("skipped")]
    Skipped,
    /// Only the beginning of the message was kept, which must not be taken for the whole.
    #[error("only a part of the message was kept, so there is nothing to send again")]
    Cut,
    /// It could not be published; it is still among the dead letters.
    #[error("not published; the dead letter is still there")]
    Publish(#[from] PublishError),
    /// The connection, and with it the lock, was lost before the letter could be removed: it comes again.
    #[error(
        "the connection was lost: the dead letter is still there, what was published for it may be in the queue"
    )]
    Lost,
    /// The broker did not answer as it should.
    #[error("the dead letters cannot be read")]
    Broker(#[from] BrokerError),
}

/// What is published for a dead letter.
#[derive(Debug, Clone)]
pub enum Replay {
    /// This job, under the letter's id.
    Job(Box<Job>),
    /// The recorded bytes, which need not be a job this version can read.
    AsRecorded,
    /// Nothing: the caller decided against a replay.
    Skip,
}

/// One operator's exclusive hold on the dead letters, until it is closed, dropped or lost.
pub struct DeadLetterQueue {
    lock: Lock,
    topology: Arc<Topology>,
    letters: Vec<Arc<DeadLetter>>,
    held: HashMap<DeadLetterId, Vec<Acker>>,
    channel: Option<Channel>,
}

impl std::fmt::Debug for DeadLetterQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetterQueue").field("letters", &self.letters.len()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Takes the dead-letter queue; [`LockError::Held`] while another operator has it.
    pub async fn dead_letters(&self) -> Result<DeadLetterQueue, LockError> {
        let lock = self.try_lock(LockName::DeadLetters).await?;
        let topology = self.inner.topology.clone();
        Ok(DeadLetterQueue { lock, topology, letters: Vec::new(), held: HashMap::new(), channel: None })
    }
}

impl DeadLetterQueue {
    /// Every dead letter, oldest first, at most [`MAX_LISTED`]. They are held until the queue is closed.
    pub async fn list(&mut self) -> Result<Vec<Arc<DeadLetter>>, DeadLetterError> {
        self.put_back().await;
        let channel = self.lock.live.channel().await?;
        let depth = depth(&channel, self.topology.dead_queue()).await?;
        let expected = usize::try_from(depth).unwrap_or(MAX_LISTED).min(MAX_LISTED);
        let mut consumer = self.consume(&channel).await?;
        let mut letters = Vec::with_capacity(expected);
        while letters.len() < MAX_LISTED {
            let patience = if letters.len() < expected { STILL_COMING } else { NO_MORE };
            let Ok(next) = timeout(patience, consumer.next()).await else { break };
            let Some(Ok(delivery)) = next else { return Err(DeadLetterError::Lost) };
            let letter = DeadLetter::read(delivery.routing_key.as_str(), &delivery.properties, delivery.data);
            self.held.entry(letter.id.clone()).or_default().push(delivery.acker);
            letters.push(Arc::new(letter));
        }
        letters.sort_by(|a, b| (a.died_at, &a.id).cmp(&(b.died_at, &b.id)));
        self.channel = Some(channel);
        self.letters.clone_from(&letters);
        Ok(letters)
    }

    async fn consume(&self, channel: &Channel) -> Result<Consumer, BrokerError> {
        channel.basic_qos(u16::MAX, BasicQosOptions::default()).await?;
        let queue = self.topology.dead_queue();
        let options = BasicConsumeOptions::default();
        Ok(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
    }

    /// Publishes what `prepare` makes of each letter to the on-demand queue as a first attempt, then removes the letter;
    /// one by one, each with its result: the replay's id.
    pub async fn replay(
        &mut self,
        ids: &[DeadLetterId],
        mut prepare: impl FnMut(&DeadLetter) -> Replay,
    ) -> Vec<(DeadLetterId, Result<Uuid, DeadLetterError>)> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            let result = match self.listed(id) {
                Some(letter) => {
                    let replay = prepare(&letter);
                    self.replay_one(&letter, replay).await
                }
                None => Err(DeadLetterError::NotListed(id.clone())),
            };
            results.push((id.clone(), result));
        }
        results
    }

    async fn replay_one(&mut self, letter: &DeadLetter, replay: Replay) -> Result<Uuid, DeadLetterError> {
        let id = Uuid::now_v7();
        let envelope = replay_envelope(&letter.envelope, id);
        let queue = WorkQueue::OnDemand;
        let message = match replay {
            Replay::Skip => return Err(DeadLetterError::Skipped),
            Replay::Job(job) => Outgoing::job(&self.topology, &job, &envelope, queue)?,
            Replay::AsRecorded if letter.cut().is_some() => return Err(DeadLetterError::Cut),
            Replay::AsRecorded => {
                let headers = HeaderWriter::of(&envelope, queue, None);
                letter.outgoing(self.topology.jobs_exchange(), queue.as_str(), headers)
            }
        };
        self.lock.publisher().publish(&message).await?;
        self.remove(&letter.id).await?;
        Ok(id)
    }

    /// Removes letters for good; one by one, each with its result.
    pub async fn discard(
        &mut self,
        ids: &[DeadLetterId],
    ) -> Vec<(DeadLetterId, Result<(), DeadLetterError>)> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            results.push((id.clone(), self.remove(id).await));
        }
        results
    }

    /// Puts a letter that was exported back among the dead letters.
    pub async fn restore(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let headers = HeaderWriter::of(&letter.envelope, letter.home, None);
        let headers = match &letter.record {
            Some(record) => headers.with_record(record),
            None => headers,
        };
        let message = letter.outgoing(self.topology.dlx(), letter.home.as_str(), headers);
        Ok(self.lock.publisher().publish(&message).await?)
    }

    /// Puts back every letter that is left, and lets the next operator in.
    pub async fn close(mut self) {
        self.put_back().await;
        self.lock.live.close().await;
    }

    fn listed(&self, id: &DeadLetterId) -> Option<Arc<DeadLetter>> {
        self.letters.iter().find(|letter| letter.id == *id).filter(|_| self.held.contains_key(id)).cloned()
    }

    /// Acknowledges a letter and its copies.
    async fn remove(&mut self, id: &DeadLetterId) -> Result<(), DeadLetterError> {
        let copies = self.held.remove(id).ok_or_else(|| DeadLetterError::NotListed(id.clone()))?;
        self.letters.retain(|letter| letter.id != *id);
        for acker in copies {
            match timeout(ACK_TIMEOUT, acker.ack(BasicAckOptions::default())).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false) | Err(_)) | Err(_) => return Err(DeadLetterError::Lost),
            }
        }
        Ok(())
    }

    async fn put_back(&mut self) {
        self.letters.clear();
        self.held.clear();
        if let Some(channel) = self.channel.take()
            && let Ok(Err(error)) = timeout(ACK_TIMEOUT, channel.close(200, "put back".into())).await
        {
            tracing::debug!(%error, "channel closed uncleanly");
        }
    }
}

/// A first attempt again, which remembers what was before.
fn replay_envelope(envelope: &Envelope, replay: Uuid) -> Envelope {
    let mut first = Envelope::first(Utc::now(), envelope.trace.clone());
    first.history.clone_from(&envelope.history);
    first.last_error.clone_from(&envelope.last_error);
    first.previous_attempt_trace.clone_from(&envelope.previous_attempt_trace);
    first.replay = Some(replay);
    first
}
