//! A connection that is always being kept: opened, watched, and opened anew 100 ms to 2 s after it was lost, for ever,
//! until shutdown. Users see the live connection of the moment and are told when it is gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backoff::Backoff;
use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connector, LiveConnection};
use crate::error::{BrokerError, ConnectError};
use crate::status::{BrokerStatus, Purpose, StatusBoard};

const RECONNECT: Backoff = Backoff::constant(Duration::from_millis(100), 2.0, Duration::from_secs(2));
const LAST_TRY: Duration = Duration::from_secs(1);

/// The live connection of the moment, if there is one.
#[derive(Clone)]
pub(crate) struct Link {
    live: watch::Receiver<Option<Arc<LiveConnection>>>,
}

impl Link {
    /// A link that ends with its one connection: what a lock is held by must never be replaced by another.
    pub(crate) fn only(live: Arc<LiveConnection>) -> Self {
        let (sender, receiver) = watch::channel(Some(live.clone()));
        tokio::spawn(async move {
            live.lost().cancelled().await;
            sender.send_replace(None);
        });
        Self { live: receiver }
    }

    /// The connection, waiting at most `patience` for one.
    pub(crate) async fn live(&self, patience: Duration) -> Result<Arc<LiveConnection>, BrokerError> {
        let mut receiver = self.live.clone();
        let usable = |live: &Option<Arc<LiveConnection>>| live.as_ref().is_some_and(|live| !live.is_lost());
        let found = timeout(patience, receiver.wait_for(usable)).await;
        match found {
            Ok(Ok(live)) => live.clone().ok_or(BrokerError::Disconnected),
            Ok(Err(_)) | Err(_) => Err(BrokerError::Disconnected),
        }
    }
}

/// What keeps one link; runs until `stop`.
pub(crate) struct Supervisor {
    pub(crate) purpose: Purpose,
    pub(crate) connector: Arc<Connector>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) stop: CancellationToken,
    /// The outcome of the latest try that failed, for whoever waits for the first connection.
    pub(crate) failure: watch::Sender<Option<ConnectError>>,
    live: watch::Sender<Option<Arc<LiveConnection>>>,
}

impl Supervisor {
    pub(crate) fn new(
        purpose: Purpose,
        connector: Arc<Connector>,
        board: Arc<StatusBoard>,
        stop: CancellationToken,
        failure: watch::Sender<Option<ConnectError>>,
    ) -> (Self, Link) {
        let (live, receiver) = watch::channel(None);
        (Self { purpose, connector, board, stop, failure, live }, Link { live: receiver })
    }

    pub(crate) async fn run(self) {
        while let Some(live) = self.connect().await {
            self.board.post(self.purpose, BrokerStatus::Connected);
            self.live.send_replace(Some(live.clone()));
            self.watch(&live).await;
            self.live.send_replace(None);
            if !self.stop.is_cancelled() {
                tracing::warn!(
                    connection = self.purpose.as_str(),
                    "connection to RabbitMQ lost, reconnecting"
                );
                self.post_down("connection lost");
            }
            // Lost to us, but the broker may still hold its channels, and with them messages.
            live.close().await;
        }
        self.post_down("closed");
    }

    /// Tries until it works; none at shutdown.
    async fn connect(&self) -> Option<Arc<LiveConnection>> {
        let mut pauses = RECONNECT.pauses();
        let mut tries: u64 = 0;
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            let opened = self.open().await?;
            let error = match opened {
                Ok(live) => {
                    tracing::info!(connection = self.purpose.as_str(), address = %self.connector.address, "connected to RabbitMQ");
                    return Some(live);
                }
                Err(error) => error,
            };
            tries += 1;
            // Once per outage loudly, then quietly: a broker away for an hour is one fact, not two thousand.
            let text = error_chain::line(&error);
            if tries == 1 {
                tracing::warn!(connection = self.purpose.as_str(), error = %text, "cannot connect to RabbitMQ, trying on");
            } else {
                tracing::debug!(connection = self.purpose.as_str(), error = %text, tries, "cannot connect to RabbitMQ, trying on");
            }
            self.post_down(&text);
            self.failure.send_replace(Some(error));
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep(pauses.next_pause()) => {}
            }
        }
    }

    /// One try. At shutdown it may still end by itself: the client's thread panics when its runtime ends in mid-connect.
    async fn open(&self) -> Option<Result<Arc<LiveConnection>, ConnectError>> {
        let mut opening = pin!(self.connector.open(self.purpose.as_str(), self.purpose.declares()));
        tokio::select! {
            opened = &mut opening => return Some(opened),
            () = self.stop.cancelled() => {}
        }
        if let Ok(Ok(live)) = timeout(LAST_TRY, opening).await {
            live.close().await;
        }
        None
    }

    /// Until the connection is lost or no longer wanted, saying meanwhile whether the broker blocks it.
    async fn watch(&self, live: &LiveConnection) {
        let mut blocked = live.blocked();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = live.lost().cancelled() => return,
                changed = blocked.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let status = match blocked.borrow_and_update().clone() {
                Some(reason) => BrokerStatus::Blocked { reason },
                None => BrokerStatus::Connected,
            };
            tracing::warn!(
                connection = self.purpose.as_str(),
                ?status,
                "RabbitMQ changed whether it takes messages"
            );
            self.board.post(self.purpose, status);
        }
    }

    fn post_down(&self, error: &str) {
        let status = BrokerStatus::Disconnected { since: Utc::now(), error: error.to_owned() };
        self.board.post(self.purpose, status);
    }
}
