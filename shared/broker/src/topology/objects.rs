//! What a topology is made of, each as it is declared.

use std::time::Duration;

/// An argument of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A long string of AMQP.
    Text(String),
    /// A 64-bit number of AMQP.
    Number(i64),
}

/// An exchange to declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name, with the fleet's prefix.
    pub name: String,
    /// How it chooses among the queues bound to it.
    pub kind: ExchangeType,
    /// What it is for.
    pub purpose: &'static str,
}

/// The kinds of exchange we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum ExchangeType {
    /// To the queues bound with the message's routing key.
    Direct,
    /// To every bound queue.
    Fanout,
}

/// A queue to declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueObject {
    /// Its name, with the fleet's prefix.
    pub name: String,
    /// The `x-…` arguments, which RabbitMQ never changes in place.
    pub arguments: Vec<(&'static str, Argument)>,
    /// What it is for.
    pub purpose: &'static str,
}

impl QueueObject {
    /// Whether it is a stream.
    pub fn is_stream(&self) -> bool {
        self.arguments.contains(&("x-queue-type", Argument::Text("stream".to_owned())))
    }
}

/// A queue bound to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange that messages come from.
    pub exchange: String,
    /// The queue they go to.
    pub queue: String,
    /// The routing key they must have; empty for a fanout exchange.
    pub routing_key: String,
}

/// One delay queue, with the exchange before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryQueue {
    /// How long a message stays.
    pub delay: Duration,
    /// The name of the exchange and of the queue.
    pub name: String,
}
