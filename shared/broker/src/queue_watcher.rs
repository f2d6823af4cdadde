//! Wakes idle slots when there is work, by asking for the depth of the queues: one task for the whole process, and no
//! request while no slot waits. Nothing is delivered before a slot asks for it, so nothing is ever held by one that cannot
//! run it (docs/adr/0002).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backoff::{Backoff, jittered};
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::BrokerError;
use crate::link::Link;
use crate::{Topology, WorkQueue};

const DEPTH_TIMEOUT: Duration = Duration::from_secs(5);
/// What a job waits at most for an idle fleet to notice it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const POLL: Backoff = Backoff::constant(Duration::from_millis(100), 1.25, LONGEST_PAUSE);

/// Where idle slots wait.
#[derive(Clone)]
pub(crate) struct QueueWatcher {
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    slots: Mutex<VecDeque<Waiter>>,
    somebody: Notify,
}

struct Waiter {
    queues: Vec<WorkQueue>,
    wake: oneshot::Sender<()>,
}

impl QueueWatcher {
    pub(crate) fn new(
        link: Link,
        topology: Arc<Topology>,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let waiting = Arc::new(Waiting::default());
        let polling = DepthPolling { link, topology, waiting: waiting.clone(), channel: None };
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = polling.run() => {}
            }
        });
        Self { waiting }
    }

    /// Returns once one of these queues has something, which another slot may fetch first: then wait again.
    pub(crate) async fn wait(&self, queues: &[WorkQueue]) {
        let (wake, woken) = oneshot::channel();
        self.waiting.lock().push_back(Waiter { queues: queues.to_vec(), wake });
        self.waiting.somebody.notify_one();
        // An error means that the polling task is gone, at shutdown: the slot finds that out by itself.
        if woken.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiter>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes as many of the slots that serve this queue as it has messages, the longest waiting first.
    fn wake(&self, queue: WorkQueue, messages: u32) {
        let mut slots = self.lock();
        let mut left = messages;
        let mut stay = VecDeque::with_capacity(slots.len());
        for waiter in slots.drain(..) {
            if left > 0 && waiter.queues.contains(&queue) {
                // One that no longer waits costs no message.
                left -= u32::from(waiter.wake.send(()).is_ok());
            } else {
                stay.push_back(waiter);
            }
        }
        *slots = stay;
    }

    /// The queues that at least one waiting slot serves.
    fn queues(&self) -> Vec<WorkQueue> {
        let mut slots = self.lock();
        // A slot that was cancelled while it waited leaves its half of the channel behind.
        slots.retain(|waiter| !waiter.wake.is_closed());
        let served = |queue: &WorkQueue| slots.iter().any(|waiter| waiter.queues.contains(queue));
        WorkQueue::BY_PRIORITY.into_iter().filter(served).collect()
    }
}

struct DepthPolling {
    link: Link,
    topology: Arc<Topology>,
    waiting: Arc<Waiting>,
    channel: Option<Channel>,
}

impl DepthPolling {
    async fn run(mut self) {
        let mut pauses = POLL.pauses();
        loop {
            let queues = self.waiting.queues();
            if queues.is_empty() {
                self.waiting.somebody.notified().await;
                pauses.reset();
                continue;
            }
            let pause = match self.poll(&queues).await {
                Ok(Backlog::Work) => {
                    pauses.reset();
                    pauses.next_pause()
                }
                Ok(Backlog::Empty) => pauses.next_pause(),
                Err(error) => {
                    tracing::debug!(error = %error_chain::line(&error), "cannot look at the work queues");
                    self.channel = None;
                    jittered(LONGEST_PAUSE)
                }
            };
            sleep(pause).await;
        }
    }

    /// Asks for the depth of each queue once and wakes the slots that have something to fetch.
    async fn poll(&mut self, queues: &[WorkQueue]) -> Result<Backlog, BrokerError> {
        let channel = match self.channel.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.link.live(LONGEST_PAUSE).await?.channel().await?,
        };
        let mut backlog = Backlog::Empty;
        for queue in queues {
            let messages = depth(&channel, self.topology.work_queue(*queue)).await?;
            if messages > 0 {
                backlog = Backlog::Work;
                self.waiting.wake(*queue, messages);
            }
        }
        self.channel = Some(channel);
        Ok(backlog)
    }
}

enum Backlog {
    Work,
    Empty,
}

/// How many messages wait in a queue.
pub(crate) async fn depth(channel: &Channel, queue: String) -> Result<u32, BrokerError> {
    // A passive declare changes nothing and answers with the count; AMQP has no other way to ask.
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared =
        timeout(DEPTH_TIMEOUT, channel.queue_declare(queue.into(), options, FieldTable::default())).await;
    match declared {
        Ok(queue) => Ok(queue?.message_count()),
        Err(_elapsed) => Err(BrokerError::Silent(DEPTH_TIMEOUT)),
    }
}
