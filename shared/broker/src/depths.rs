//! How deep the queues are: for `status`, for the producer's decision to skip a tick, for autoscaling.

use std::time::Duration;

use crate::error::BrokerError;
use crate::queue_watcher::depth;
use crate::{Broker, WorkQueue};

/// Messages that wait in each queue; those in a worker's hand are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDepths {
    /// Handed on by leaving workers.
    pub resume: u32,
    /// Asked for by somebody.
    pub on_demand: u32,
    /// Jobs that the schedule made.
    pub refresh: u32,
    /// Dead letters that no operator has dealt with.
    pub dead: u32,
    /// Each delay queue, shortest first.
    pub retries: Vec<(Duration, u32)>,
}

impl QueueDepths {
    /// Everything that still has to be worked on.
    pub fn waiting(&self) -> u64 {
        let work = [self.resume, self.on_demand, self.refresh].map(u64::from);
        let retries = self.retries.iter().map(|(_, messages)| u64::from(*messages));
        work.into_iter().chain(retries).sum()
    }
}

impl Broker {
    /// How deep the queues are now.
    pub async fn queue_depths(&self) -> Result<QueueDepths, BrokerError> {
        let live = self.inner.consume.live(self.inner.settings.section.publish_timeout).await?;
        let channel = live.channel().await?;
        let topology = self.topology();
        let work = async |queue| depth(&channel, topology.work_queue(queue)).await;
        let mut retries = Vec::with_capacity(topology.retries().len());
        for retry in topology.retries() {
            retries.push((retry.delay, depth(&channel, retry.name.clone()).await?));
        }
        Ok(QueueDepths {
            resume: work(WorkQueue::Resume).await?,
            on_demand: work(WorkQueue::OnDemand).await?,
            refresh: work(WorkQueue::Refresh).await?,
            dead: depth(&channel, topology.dead_queue()).await?,
            retries,
        })
    }
}
