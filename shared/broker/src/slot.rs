//! Room for one job: its own channel, so that whatever happens to one build never touches its neighbours.
//!
//! Invariant: a slot holds at most the one message it was asked to take. Messages are fetched (basic.get), not pushed:
//! see docs/adr/0002.

use std::sync::Arc;
use std::time::Duration;

use backoff::jittered;
use lapin::message::BasicGetMessage;
use lapin::options::BasicGetOptions;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::error::BrokerError;
use crate::slot_channel::SlotChannel;
use crate::{Broker, WorkQueue};

const GET_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_PATIENCE: Duration = Duration::from_secs(1);
const ERROR_PAUSE: Duration = Duration::from_millis(250);

/// Room for one job.
pub struct Slot {
    broker: Broker,
    queues: Vec<WorkQueue>,
    channel: Option<Arc<SlotChannel>>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("queues", &self.queues).finish_non_exhaustive()
    }
}

impl Broker {
    /// Room for one job, which takes from all work queues.
    pub fn slot(&self) -> Slot {
        self.slot_on(&WorkQueue::BY_PRIORITY)
    }

    /// Room for one job, which takes from these work queues only, in their order of priority.
    pub fn slot_on(&self, queues: &[WorkQueue]) -> Slot {
        Slot::new(self.clone(), queues)
    }
}

impl Slot {
    fn new(broker: Broker, queues: &[WorkQueue]) -> Self {
        let queues = WorkQueue::BY_PRIORITY.into_iter().filter(|queue| queues.contains(queue)).collect();
        Self { broker, queues, channel: None }
    }

    /// The next message, by priority; waits for one as long as it takes, through lost connections too. None once
    /// `cancel` is cancelled or the broker handle is closed.
    ///
    /// Dropping the future half-way is safe: the message it may have just fetched goes back with its channel.
    pub async fn take(&mut self, cancel: &CancellationToken) -> Option<Delivery> {
        let stop = self.broker.inner.stop.clone();
        while !cancel.is_cancelled() && !stop.is_cancelled() {
            match self.fetch(cancel).await {
                Ok(Some(delivery)) => return Some(delivery),
                Ok(None) => {
                    let queue_watcher = self.broker.inner.queue_watcher.clone();
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = stop.cancelled() => {}
                        () = queue_watcher.wait(&self.queues) => {}
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %error_chain::line(&error), "cannot take from the work queues, trying on");
                    let pause = jittered(ERROR_PAUSE);
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = stop.cancelled() => {}
                        () = sleep(pause) => {}
                    }
                }
            }
        }
        None
    }

    /// One look at every queue. The channel is the slot's again only at the end: a future dropped in the middle, or an
    /// error, takes the channel with it, and what it had fetched is free for others.
    async fn fetch(&mut self, cancel: &CancellationToken) -> Result<Option<Delivery>, BrokerError> {
        let channel = match self.channel.take().filter(|channel| !channel.is_gone()) {
            Some(channel) => channel,
            None => self.open().await?,
        };
        for queue in self.queues.clone() {
            if cancel.is_cancelled() {
                break;
            }
            if let Some(fetched) = get(&channel, self.broker.inner.topology.work_queue(queue)).await? {
                self.channel = Some(channel.clone());
                return Ok(Some(Delivery::new(fetched.delivery, queue, channel, self.broker.clone())));
            }
        }
        self.channel = Some(channel);
        Ok(None)
    }

    async fn open(&self) -> Result<Arc<SlotChannel>, BrokerError> {
        let live = self.broker.inner.consume.live(CONNECTION_PATIENCE).await?;
        let channel = live.channel().await?;
        Ok(Arc::new(SlotChannel { channel, live }))
    }
}

async fn get(channel: &SlotChannel, queue: String) -> Result<Option<BasicGetMessage>, BrokerError> {
    match timeout(GET_TIMEOUT, channel.channel.basic_get(queue.into(), BasicGetOptions::default())).await {
        Ok(fetched) => Ok(fetched?),
        Err(_elapsed) => {
            channel.live.give_up();
            Err(BrokerError::Silent(GET_TIMEOUT))
        }
    }
}
