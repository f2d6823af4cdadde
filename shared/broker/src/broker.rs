//! The handle: what a program opens once at its start and closes at its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Connector;
use crate::error::ConnectError;
use crate::link::{Link, Supervisor};
use crate::queue_watcher::QueueWatcher;
use crate::status::{BrokerStatus, Purpose, StatusBoard};
use crate::{BrokerSettings, Publisher, Topology};

/// The connections to RabbitMQ of one process. Clones share them.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: BrokerSettings,
    pub(crate) topology: Arc<Topology>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) consume: Link,
    pub(crate) stream: Link,
    pub(crate) publisher: Publisher,
    pub(crate) queue_watcher: QueueWatcher,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    board: Arc<StatusBoard>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Broker {
    /// Connects, declares the topology and keeps both, or says within `connect_timeout` what is wrong.
    pub async fn connect(settings: BrokerSettings) -> Result<Self, ConnectError> {
        let topology = Arc::new(Topology::new(&settings.fleet, &settings.retry_delays));
        let connector = Arc::new(Connector::new(&settings, topology.clone())?);
        let (board, stop, tasks) =
            (Arc::new(StatusBoard::new()), CancellationToken::new(), TaskTracker::new());
        let failure = watch::Sender::new(None);
        let keep = |purpose| {
            let (supervisor, link) =
                Supervisor::new(purpose, connector.clone(), board.clone(), stop.clone(), failure.clone());
            tasks.spawn(supervisor.run());
            link
        };
        let [publish, consume, stream] = [Purpose::Publish, Purpose::Consume, Purpose::Stream].map(keep);
        let publisher = Publisher::over(publish, topology.clone(), settings.section.publish_timeout);
        let queue_watcher = QueueWatcher::new(consume.clone(), topology.clone(), stop.clone(), &tasks);
        let inner = Inner {
            settings,
            topology,
            connector,
            consume,
            stream,
            publisher,
            queue_watcher,
            stop,
            tasks,
            board,
        };
        let broker = Self { inner: Arc::new(inner) };
        if let Err(error) = broker.wait_until_connected(failure.subscribe()).await {
            broker.close().await;
            return Err(error);
        }
        Ok(broker)
    }

    async fn wait_until_connected(
        &self,
        mut failure: watch::Receiver<Option<ConnectError>>,
    ) -> Result<(), ConnectError> {
        let waited = self.inner.settings.section.connect_timeout;
        let deadline = Instant::now() + waited;
        let mut status = self.status();
        loop {
            if status.borrow_and_update().is_connected() {
                return Ok(());
            }
            let over = tokio::select! {
                _ = timeout_at(deadline, status.changed()) => Instant::now() >= deadline,
                _ = failure.changed() => Instant::now() >= deadline,
            };
            let last = failure.borrow_and_update().clone();
            if over || last.as_ref().is_some_and(is_permanent) {
                return Err(self.explain_failure(last, waited));
            }
        }
    }

    fn explain_failure(&self, last: Option<ConnectError>, waited: Duration) -> ConnectError {
        match last {
            Some(ConnectError::Unreachable { address, source, .. }) => {
                ConnectError::Unreachable { address, waited, source }
            }
            Some(error) => error,
            None => self.inner.connector.unreachable(waited, None),
        }
    }

    /// How the connections fare, and every change of it.
    pub fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.inner.board.watch()
    }

    /// Names and arguments of everything that is declared.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Publishes over the supervised connection; clones share its channels.
    pub fn publisher(&self) -> Publisher {
        self.inner.publisher.clone()
    }

    /// Closes the connections and waits for every task of this handle. What is unacknowledged comes again to somebody.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

/// What waiting does not mend.
fn is_permanent(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Refused { .. } | ConnectError::Topology(crate::TopologyError::Inequivalent { .. })
    )
}
