//! How the connections fare, for readiness and gauges: the worst of them is the broker's status.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use strum::{EnumCount, IntoStaticStr};
use tokio::sync::watch;

use crate::topology::Extent;

/// Whether the broker can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerStatus {
    /// Every connection is up.
    Connected,
    /// At least one connection is down and being made anew.
    Disconnected {
        /// When the last try to connect failed, or the connection was lost.
        since: DateTime<Utc>,
        /// What was said last, without credentials.
        error: String,
    },
    /// The broker takes no messages (memory or disk alarm).
    Blocked {
        /// The reason the broker gives.
        reason: String,
    },
}

impl BrokerStatus {
    /// Whether messages can be taken and published.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    fn severity(&self) -> u8 {
        match self {
            Self::Connected => 0,
            Self::Blocked { .. } => 1,
            Self::Disconnected { .. } => 2,
        }
    }
}

/// What a connection is for; one for each, so that a blocked publisher never holds up acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, IntoStaticStr)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Purpose {
    Publish,
    Consume,
    Stream,
}

impl Purpose {
    /// Only who reads streams waits for them.
    pub(crate) fn declares(self) -> Extent {
        match self {
            Self::Publish | Self::Consume => Extent::Jobs,
            Self::Stream => Extent::Everything,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Where the supervisors post the status of their connection.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    links: Mutex<[BrokerStatus; Purpose::COUNT]>,
    worst: watch::Sender<BrokerStatus>,
}

impl StatusBoard {
    pub(crate) fn new() -> Self {
        let down = BrokerStatus::Disconnected { since: Utc::now(), error: "not connected yet".to_owned() };
        let links = std::array::from_fn(|_| down.clone());
        Self { links: Mutex::new(links), worst: watch::Sender::new(down) }
    }

    pub(crate) fn post(&self, purpose: Purpose, status: BrokerStatus) {
        let worst = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            // One place for each purpose, in the order of the variants.
            links[purpose as usize] = status;
            links.iter().max_by_key(|status| status.severity()).cloned()
        };
        if let Some(worst) = worst {
            self.worst.send_if_modified(|current| {
                let changed = *current != worst;
                *current = worst;
                changed
            });
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<BrokerStatus> {
        self.worst.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn the_worst_connection_is_the_status_of_the_broker() {
        let board = StatusBoard::new();
        let status = board.watch();
        assert!(matches!(*status.borrow(), BrokerStatus::Disconnected { .. }));
        for purpose in Purpose::VARIANTS {
            board.post(*purpose, BrokerStatus::Connected);
        }
        assert!(status.borrow().is_connected());
        board.post(Purpose::Publish, BrokerStatus::Blocked { reason: "low on memory".into() });
        assert!(matches!(*status.borrow(), BrokerStatus::Blocked { .. }));
        board.post(Purpose::Stream, BrokerStatus::Disconnected { since: Utc::now(), error: "reset".into() });
        assert!(matches!(*status.borrow(), BrokerStatus::Disconnected { .. }));
        board.post(Purpose::Stream, BrokerStatus::Connected);
        board.post(Purpose::Publish, BrokerStatus::Connected);
        assert!(status.borrow().is_connected());
    }
}
