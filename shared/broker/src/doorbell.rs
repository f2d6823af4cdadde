//! Tells idle slots that there is work, by looking at the depth of the queues: one look for the whole process, and none
//! while no slot waits. Nothing is delivered before a slot asks for it, so nothing is ever held by one that cannot run it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::BrokerError;
use crate::link::{Link, jittered};
use crate::{Topology, WorkQueue};

const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// What a job waits at most for an idle fleet to notice it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where idle slots wait.
#[derive(Clone)]
pub(crate) struct Doorbell {
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

impl Doorbell {
    pub(crate) fn new(
        link: Link,
        topology: Arc<Topology>,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let waiting = Arc::new(Waiting::default());
        let ringer = Ringer { link, topology, waiting: waiting.clone(), channel: None };
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ringer.run() => {}
            }
        });
        Self { waiting }
    }

    /// Until one of these queues has something, for this slot or for nobody: look yourself, and come back if it is gone.
    pub(crate) async fn wait(&self, queues: &[WorkQueue]) {
        let (wake, woken) = oneshot::channel();
        self.waiting.lock().push_back(Waiter { queues: queues.to_vec(), wake });
        self.waiting.somebody.notify_one();
        // An error means that the ringer is gone, at shutdown: the slot finds that out by itself.
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

    fn wanted(&self) -> Vec<WorkQueue> {
        let mut slots = self.lock();
        slots.retain(|waiter| !waiter.wake.is_closed());
        let wanted = |queue: &WorkQueue| slots.iter().any(|waiter| waiter.queues.contains(queue));
        WorkQueue::BY_PRIORITY.into_iter().filter(wanted).collect()
    }
}

struct Ringer {
    link: Link,
    topology: Arc<Topology>,
    waiting: Arc<Waiting>,
    channel: Option<Channel>,
}

impl Ringer {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let wanted = self.waiting.wanted();
            if wanted.is_empty() {
                self.waiting.somebody.notified().await;
                pause = FIRST_PAUSE;
                continue;
            }
            match self.look(&wanted).await {
                Ok(Found::Work) => pause = FIRST_PAUSE,
                Ok(Found::Nothing) => pause = pause.mul_f64(1.25).min(LONGEST_PAUSE),
                Err(error) => {
                    tracing::debug!(error = %error_chain::line(&error), "cannot look at the work queues");
                    self.channel = None;
                    pause = LONGEST_PAUSE;
                }
            }
            sleep(jittered(pause)).await;
        }
    }

    async fn look(&mut self, wanted: &[WorkQueue]) -> Result<Found, BrokerError> {
        let channel = match self.channel.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.link.live(LONGEST_PAUSE).await?.channel().await?,
        };
        let mut found = Found::Nothing;
        for queue in wanted {
            let messages = depth(&channel, self.topology.work_queue(*queue)).await?;
            if messages > 0 {
                found = Found::Work;
                self.waiting.wake(*queue, messages);
            }
        }
        self.channel = Some(channel);
        Ok(found)
    }
}

enum Found {
    Work,
    Nothing,
}

/// How many messages wait in a queue.
pub(crate) async fn depth(channel: &Channel, queue: String) -> Result<u32, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared =
        timeout(LOOK_TIMEOUT, channel.queue_declare(queue.into(), options, FieldTable::default())).await;
    match declared {
        Ok(queue) => Ok(queue?.message_count()),
        Err(_elapsed) => Err(BrokerError::Silent(LOOK_TIMEOUT)),
    }
}
