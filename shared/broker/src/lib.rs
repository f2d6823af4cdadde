//! Everything said to RabbitMQ, and the only crate that names lapin.
//!
//! - [`Broker`]: the connections of a process, supervised by us; [`Topology`]: what is declared.
//! - [`Publisher`]: persistent, mandatory, confirmed, with a deadline.
//! - [`Slot`] and [`Delivery`]: one message at a time, ended in exactly one way, the next confirmed before the old is
//!   acknowledged.
//! - [`DeadLetterQueue`], [`Register`], [`Ledger`], [`Lock`], [`Control`]: what operators and keepers work with.
//!
//! What does not belong here: what a job means, when to retry it, and spans, but for the [`PublishSpan`]
//! that a job's trace begins with (the trace travels in the envelope).
#![warn(missing_docs)]

mod broker;
mod connection;
mod control;
mod dead_letter;
mod dead_letter_queue;
mod delivery;
mod depths;
mod error;
mod follow_up;
mod headers;
mod ledger;
mod link;
mod lock;
mod message;
mod pool;
mod publish;
mod publish_many;
mod publish_span;
mod queue_watcher;
mod register;
mod settings;
mod slot;
mod slot_channel;
mod status;
mod stream;
mod topology;

pub use broker::Broker;
pub use control::Control;
pub use dead_letter::{BrokerDeath, DeadLetter, DeadLetterId};
pub use dead_letter_queue::{DeadLetterError, DeadLetterQueue, MAX_LISTED, Replay};
pub use delivery::{Delivery, Settled};
pub use depths::QueueDepths;
pub use error::{BrokerError, ClientError, ConnectError, PublishError, TopologyError};
pub use headers::MAX_HEADER_BYTES;
pub use ledger::Ledger;
pub use lock::{Lock, LockError};
pub use message::Message;
pub use publish::Publisher;
pub use publish_many::JobMessage;
pub use publish_span::PublishSpan;
pub use register::{CheckpointError, CheckpointStatus, CheckpointWritten, Register, SyncError};
pub use settings::{BrokerSection, BrokerSettings};
pub use slot::Slot;
pub use status::BrokerStatus;
pub use stream::ReadFrom;
pub use topology::{
    Argument, Binding, Exchange, ExchangeType, LockName, QueueObject, RetryQueue, Topology, WorkQueue,
};
