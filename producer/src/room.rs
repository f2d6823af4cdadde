//! Whether a tick may be fired at all. More jobs than the workers can take only grow old in the queue.

use std::fmt;

/// How much the broker has to bear at the time of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerLoad {
    /// Messages waiting for scheduled builds.
    pub depth: u64,
    /// Whether the broker takes publishes.
    pub flow: Flow,
}

/// Whether the broker takes publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It takes and confirms them.
    Open,
    /// It is out of memory or disk and holds them back.
    Blocked,
}

/// Whether there is room for a tick's jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// All of the tick's jobs may be published.
    Enough,
    /// The tick is skipped, for this reason.
    None(SkipReason),
}

/// Why a tick is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The queue holds more jobs than this.
    QueueDeep {
        /// How many jobs wait in it.
        depth: u64,
        /// How many may wait for a tick to be fired.
        limit: u64,
    },
    /// The broker holds publishes back.
    BrokerBlocked,
}

impl fmt::Display for SkipReason {
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

/// Decides whether there is room for one job for each of `targets`.
pub fn check_room(load: BrokerLoad, targets: usize, queue_depth_factor: u32) -> Room {
    let limit = u64::try_from(targets).unwrap_or(u64::MAX).saturating_mul(u64::from(queue_depth_factor));
    match load.flow {
        Flow::Blocked => Room::None(SkipReason::BrokerBlocked),
        Flow::Open if load.depth > limit => Room::None(SkipReason::QueueDeep { depth: load.depth, limit }),
        Flow::Open => Room::Enough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_queue_or_a_blocked_broker_leaves_no_room() {
        let open = |depth| BrokerLoad { depth, flow: Flow::Open };
        let deep = |depth, limit| Room::None(SkipReason::QueueDeep { depth, limit });
        assert_eq!(check_room(open(0), 3, 2), Room::Enough);
        assert_eq!(check_room(open(6), 3, 2), Room::Enough);
        assert_eq!(check_room(open(7), 3, 2), deep(7, 6));
        assert_eq!(check_room(open(1), 0, 2), deep(1, 0));
        let blocked = BrokerLoad { depth: 0, flow: Flow::Blocked };
        assert_eq!(check_room(blocked, 3, 2), Room::None(SkipReason::BrokerBlocked));
    }
}
