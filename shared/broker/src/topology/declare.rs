//! Declares the topology; all declarations are idempotent, so every connection does it.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};
use thiserror::Error;

use super::{Argument, ExchangeType, QueueObject, Topology};
use crate::error::{ClientError, reply_code};

const PRECONDITION_FAILED: u16 = 406;

/// Why the topology could not be declared.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// It exists with other arguments, which RabbitMQ never changes in place.
    #[error(
        "`{object}` exists in RabbitMQ with other arguments than this version declares: \
         drain it and delete it (rabbitmqctl delete_queue), or use another fleet name or the version that made it"
    )]
    Inequivalent {
        /// The exchange or queue.
        object: String,
        /// RabbitMQ's words, which name the argument.
        #[source]
        source: ClientError,
    },
    /// Anything else.
    #[error("`{object}` could not be declared")]
    Declare {
        /// The exchange or queue.
        object: String,
        /// What was said.
        #[source]
        source: ClientError,
    },
}

impl TopologyError {
    fn of(object: &str, error: lapin::Error) -> Self {
        let (object, inequivalent) = (object.to_owned(), reply_code(&error) == Some(PRECONDITION_FAILED));
        let source = error.into();
        if inequivalent { Self::Inequivalent { object, source } } else { Self::Declare { object, source } }
    }
}

/// How much of the topology a connection declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All but the streams: a stream that is unwell must not stop jobs from being published and taken.
    Jobs,
    /// All.
    Everything,
}

impl Topology {
    pub(crate) async fn declare(&self, connection: &Connection, extent: Extent) -> Result<(), TopologyError> {
        let channel =
            connection.create_channel().await.map_err(|error| TopologyError::of("a channel", error))?;
        for exchange in self.exchanges() {
            let kind = match exchange.kind {
                ExchangeType::Direct => ExchangeKind::Direct,
                ExchangeType::Fanout => ExchangeKind::Fanout,
            };
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel
                .exchange_declare(exchange.name.as_str().into(), kind, options, FieldTable::default())
                .await
                .map_err(|error| TopologyError::of(&exchange.name, error))?;
        }
        let wanted = |queue: &&QueueObject| extent == Extent::Everything || !queue.is_stream();
        for queue in self.queues().iter().filter(wanted) {
            channel
                .queue_declare(queue.name.as_str().into(), QueueDeclareOptions::durable(), arguments(queue))
                .await
                .map_err(|error| TopologyError::of(&queue.name, error))?;
        }
        for binding in self.bindings() {
            channel
                .queue_bind(
                    binding.queue.as_str().into(),
                    binding.exchange.as_str().into(),
                    binding.routing_key.as_str().into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await
                .map_err(|error| TopologyError::of(&binding.queue, error))?;
        }
        Ok(())
    }
}

fn arguments(queue: &QueueObject) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in &queue.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert((*key).into(), value);
    }
    table
}
