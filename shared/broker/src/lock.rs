//! What only one process may do at a time: an exclusive queue on a connection of its own. The lock lives exactly as long
//! as that connection, and its holder publishes over the same one, so a holder that was frozen past its lock cannot
//! publish any more.

use std::sync::Arc;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::connection::LiveConnection;
use crate::error::{BrokerError, ConnectError, reply_code};
use crate::link::Link;
use crate::topology::Extent;
use crate::{Broker, LockName, Publisher};

const RESOURCE_LOCKED: u16 = 405;

/// Why there is no lock.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it.
    #[error("`{0}` is held by another process")]
    Held(String),
    /// No connection for it.
    #[error("no connection for the lock")]
    Connect(#[from] ConnectError),
    /// The broker did not answer as it should.
    #[error("the lock could not be asked for")]
    Broker(#[from] BrokerError),
}

/// A lock, held until it is dropped, released or lost.
pub struct Lock {
    pub(crate) live: Arc<LiveConnection>,
    publisher: Publisher,
    /// Kept for the queue that was declared on it.
    _channel: Channel,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("lost", &self.live.is_lost()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Takes the lock if nobody holds it; asks once and never waits for it.
    pub async fn try_lock(&self, name: LockName) -> Result<Lock, LockError> {
        let queue = self.topology().lock_queue(name);
        let live = self.inner.connector.open(&queue, Extent::Jobs).await?;
        match self.declare_lock(&live, &queue).await {
            Ok(channel) => Ok(self.lock_over(live, channel)),
            Err(error) => {
                live.close().await;
                Err(error)
            }
        }
    }

    async fn declare_lock(&self, live: &LiveConnection, queue: &str) -> Result<Channel, LockError> {
        let channel = live.channel().await?;
        let options = QueueDeclareOptions::exclusive().auto_delete();
        match channel.queue_declare(queue.into(), options, FieldTable::default()).await {
            Ok(_) => Ok(channel),
            Err(error) if reply_code(&error) == Some(RESOURCE_LOCKED) => {
                Err(LockError::Held(queue.to_owned()))
            }
            Err(error) => Err(BrokerError::from(error).into()),
        }
    }

    fn lock_over(&self, live: Arc<LiveConnection>, channel: Channel) -> Lock {
        // The connection's task ends with the lock, or with the broker handle.
        let (stop, held) = (self.inner.stop.clone(), live.clone());
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => held.close().await,
                () = held.lost().cancelled() => {}
            }
        });
        let link = Link::only(live.clone());
        let publisher =
            Publisher::over(link, self.inner.topology.clone(), self.inner.settings.section.publish_timeout);
        Lock { live, publisher, _channel: channel }
    }
}

impl Lock {
    /// Publishes over the connection that holds the lock: after the lock is lost, nothing more.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Cancelled once the lock is no longer held.
    pub fn lost(&self) -> CancellationToken {
        self.live.lost().clone()
    }

    /// Whether it is no longer held.
    pub fn is_lost(&self) -> bool {
        self.live.is_lost()
    }

    /// Gives it to the next.
    pub async fn release(self) {
        self.live.close().await;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.live.lost().is_cancelled() {
            return;
        }
        // Lost for its holder at once. The close, which frees it for others, can't be awaited here.
        self.live.give_up();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let live = self.live.clone();
            runtime.spawn(async move { live.close().await });
        }
    }
}
