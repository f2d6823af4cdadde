//! Declares the topology; all declarations are idempotent, so every connection does it.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};

use super::{Argument, ExchangeType, QueueObject, Topology};
use crate::error::TopologyError;

/// How much of the topology a connection declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All but the streams: a stream that is unwell must not stop jobs from being published and taken.
    Jobs,
    /// All of it, the streams too.
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
