//! Whether a tick may be fired at all. More jobs than the workers can take only grow old in the queue.

use std::fmt;

/// What the broker looks like at the time of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerSeen {
    /// Messages waiting for scheduled builds.
    pub depth: u64,
    /// Whether the broker takes publishes.
    pub flow: Flow,
}

/// Whether the broker takes publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Open,
    /// It is out of memory or disk and holds them back.
    Blocked,
}

/// Whether there is room for a tick's jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// There is none, for this reason.
    None(Crowding),
}

/// Why a tick is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowding {
    /// The queue holds more jobs than this.
    QueueDeep {
        /// Messages waiting.
        depth: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The broker holds publishes back.
    BrokerBlocked,
}

impl fmt::Display for Crowding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueDeep { depth, limit } => write!(
                f,
                "{depth} jobs wait already, more than {limit}: the workers are behind; add workers or slots, or look at what they do"
            ),
            Self::BrokerBlocked => f.write_str(
                "RabbitMQ holds publishes back (memory or disk alarm): see `rabbitmq-diagnostics alarms`",
            ),
        }
    }
}

/// Whether there is room for one job for each of `targets`.
pub fn room(seen: BrokerSeen, targets: usize, queue_depth_factor: u32) -> Room {
    let limit = u64::try_from(targets).unwrap_or(u64::MAX).saturating_mul(u64::from(queue_depth_factor));
    match seen.flow {
        Flow::Blocked => Room::None(Crowding::BrokerBlocked),
        Flow::Open if seen.depth > limit => Room::None(Crowding::QueueDeep { depth: seen.depth, limit }),
        Flow::Open => Room::Enough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_deeper_than_twice_the_targets_or_a_blocked_broker_leaves_no_room() {
        let open = |depth| BrokerSeen { depth, flow: Flow::Open };
        let deep = |depth, limit| Room::None(Crowding::QueueDeep { depth, limit });
        assert_eq!(room(open(0), 3, 2), Room::Enough);
        assert_eq!(room(open(6), 3, 2), Room::Enough);
        assert_eq!(room(open(7), 3, 2), deep(7, 6));
        assert_eq!(room(open(1), 0, 2), deep(1, 0));
        let blocked = BrokerSeen { depth: 0, flow: Flow::Blocked };
        assert_eq!(room(blocked, 3, 2), Room::None(Crowding::BrokerBlocked));
    }
}
