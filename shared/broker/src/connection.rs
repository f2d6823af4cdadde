//! One plain connection: opened with a bound, watched until it is gone, and gone for good then. lapin's own recovery is
//! never enabled: it wedges publishers for ever on a graceful restart of the broker.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::{BrokerError, ClientError, ConnectError, reply_code};
use crate::topology::Extent;
use crate::{BrokerSettings, Topology};

/// One try to connect, the declaration included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between checks of a connection's status, beside its events: a lost event must not hide a lost connection.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// 403 (login) and 530 (virtual host): what no waiting mends.
const REFUSALS: [u16; 2] = [403, 530];

/// How connections are opened.
#[derive(Debug)]
pub(crate) struct Connector {
    uri: AMQPUri,
    pub(crate) address: String,
    name: String,
    topology: Arc<Topology>,
    /// Declaring a quorum queue from two connections at once has made brokers fail; ours take turns.
    declaring: tokio::sync::Mutex<()>,
}

/// One connection while it lives.
pub(crate) struct LiveConnection {
    connection: Connection,
    lost: CancellationToken,
    blocked: watch::Sender<Option<String>>,
}

impl Connector {
    pub(crate) fn new(settings: &BrokerSettings, topology: Arc<Topology>) -> Result<Self, ConnectError> {
        Ok(Self {
            uri: settings.uri()?,
            address: settings.address()?,
            name: settings.connection_name.clone(),
            topology,
            declaring: tokio::sync::Mutex::new(()),
        })
    }

    /// Opens a connection and declares the topology over it.
    pub(crate) async fn open(
        &self,
        purpose: &str,
        extent: Extent,
    ) -> Result<Arc<LiveConnection>, ConnectError> {
        match timeout(OPEN_TIMEOUT, self.open_unbounded(purpose, extent)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(self.unreachable(OPEN_TIMEOUT, None)),
        }
    }

    async fn open_unbounded(
        &self,
        purpose: &str,
        extent: Extent,
    ) -> Result<Arc<LiveConnection>, ConnectError> {
        let name = format!("{} {purpose}", self.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect_uri(self.uri.clone(), properties)
            .await
            .map_err(|error| self.refused_or_unreachable(error))?;
        let live = LiveConnection::watch(connection);
        let declared = {
            let _turn = self.declaring.lock().await;
            self.topology.declare(&live.connection, extent).await
        };
        if let Err(error) = declared {
            live.close().await;
            return Err(error.into());
        }
        Ok(live)
    }

    fn refused_or_unreachable(&self, error: lapin::Error) -> ConnectError {
        if reply_code(&error).is_some_and(|code| REFUSALS.contains(&code)) {
            ConnectError::Refused { address: self.address.clone(), source: error.into() }
        } else {
            self.unreachable(Duration::ZERO, Some(error.into()))
        }
    }

    pub(crate) fn unreachable(&self, waited: Duration, source: Option<ClientError>) -> ConnectError {
        ConnectError::Unreachable { address: self.address.clone(), waited, source }
    }
}

impl LiveConnection {
    /// Puts the connection under watch. The watching task ends with the connection.
    fn watch(connection: Connection) -> Arc<Self> {
        let events = connection.events_listener();
        let live =
            Arc::new(Self { connection, lost: CancellationToken::new(), blocked: watch::Sender::new(None) });
        // Weak: the task must not keep alive the connection that it watches.
        let (weak, lost) = (Arc::downgrade(&live), live.lost.clone());
        tokio::spawn(async move {
            let mut events = pin!(events);
            let mut check = interval(CHECK_INTERVAL);
            check.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let event = tokio::select! {
                    () = lost.cancelled() => return,
                    event = events.next() => event,
                    // No event, but the status is checked after every one.
                    _ = check.tick() => Some(Event::Connected),
                };
                let Some(live) = weak.upgrade() else { return };
                if live.observe(event) == Health::Gone {
                    lost.cancel();
                    return;
                }
            }
        });
        live
    }

    fn observe(&self, event: Option<Event>) -> Health {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                self.blocked.send_replace(Some(reason));
            }
            Some(Event::ConnectionUnblocked) => {
                self.blocked.send_replace(None);
            }
            Some(Event::Error(_)) | None => return Health::Gone,
            Some(_) => {}
        }
        if self.connection.status().connected() { Health::Up } else { Health::Gone }
    }

    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        let opened = tokio::select! {
            () = self.lost.cancelled() => return Err(BrokerError::Disconnected),
            opened = timeout(OPEN_TIMEOUT, self.connection.create_channel()) => opened,
        };
        match opened {
            Ok(channel) => Ok(channel?),
            Err(_elapsed) => {
                self.give_up();
                Err(BrokerError::Silent(OPEN_TIMEOUT))
            }
        }
    }

    /// Declares this connection lost: it did not answer in time. Whoever supervises it opens another.
    pub(crate) fn give_up(&self) {
        self.lost.cancel();
    }

    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled() || !self.connection.status().connected()
    }

    /// The broker's reason for taking no messages, while it takes none.
    pub(crate) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }

    /// Closes it, politely while that works.
    pub(crate) async fn close(&self) {
        self.lost.cancel();
        match timeout(CLOSE_TIMEOUT, self.connection.close(200, "bye".into())).await {
            Ok(Ok(())) => {}
            // The usual answer of a connection that was dead already, or whose channels were just dropped.
            Ok(Err(error)) => tracing::debug!(%error, "connection closed uncleanly"),
            Err(_elapsed) => tracing::debug!("the broker did not answer the close"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Up,
    Gone,
}
