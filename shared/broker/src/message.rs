//! A message as it was delivered: read leniently, and written again with other headers when it moves on.

use chrono::{DateTime, Utc};
use job::Envelope;
use lapin::{Acker, BasicProperties};

use crate::WorkQueue;
use crate::headers::{HeaderReader, HeaderWriter, ReadEnvelope};
use crate::publish::{Outgoing, Routing, properties};

/// A message as it was delivered, with what its headers say.
#[derive(Debug, Clone)]
pub struct Message {
    /// The bytes, as they were published first.
    pub body: Vec<u8>,
    /// What travels beside them.
    pub envelope: Envelope,
    /// Headers that were there and could not be read.
    pub unreadable_headers: Vec<&'static str>,
    /// The message's id: the job's, for messages of ours.
    pub message_id: Option<String>,
    /// The queue it was taken from.
    pub queue: WorkQueue,
    /// The queue a retry comes back to.
    pub home: WorkQueue,
    /// Whether somebody may have had it before.
    pub redelivered: bool,
    /// How often it was delivered before without being acknowledged, as far as the broker knows.
    pub delivery_count: u32,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    tick: Option<String>,
    kind: Option<String>,
    content_type: Option<String>,
}

impl Message {
    pub(crate) fn read(delivery: lapin::message::Delivery, queue: WorkQueue) -> (Self, Acker) {
        let lapin::message::Delivery { properties, data, acker, redelivered, .. } = delivery;
        let taken_at = Utc::now();
        let reader = HeaderReader::new(properties.headers().as_ref());
        let delivery_count =
            reader.number("x-delivery-count").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let home = match queue {
            WorkQueue::Resume => reader.home().unwrap_or(WorkQueue::Refresh),
            WorkQueue::OnDemand | WorkQueue::Refresh => queue,
        };
        // Ours has 20 characters; a stranger's must not take the room of the other headers.
        let tick = reader.text("x-tick").filter(|tick| tick.len() <= 64).map(str::to_owned);
        let ReadEnvelope { mut envelope, unreadable } =
            reader.envelope(sent_at(&properties).unwrap_or(taken_at));
        // A job from the future would never grow old enough to be given up.
        envelope.first_enqueued = envelope.first_enqueued.min(taken_at);
        envelope.enqueued = envelope.enqueued.min(taken_at);
        let text =
            |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
        let message = Self {
            body: data,
            envelope,
            unreadable_headers: unreadable,
            message_id: text(properties.message_id()),
            queue,
            home,
            redelivered,
            delivery_count,
            taken_at,
            tick,
            kind: text(properties.kind()),
            content_type: text(properties.content_type()),
        };
        (message, acker)
    }

    /// The same bytes under the same id, with these headers.
    pub(crate) fn outgoing(&self, exchange: String, routing_key: &str, headers: HeaderWriter) -> Outgoing {
        self.outgoing_with(self.body.clone(), exchange, routing_key, headers)
    }

    /// These bytes instead of its own, under the same id.
    pub(crate) fn outgoing_with(
        &self,
        body: Vec<u8>,
        exchange: String,
        routing_key: &str,
        headers: HeaderWriter,
    ) -> Outgoing {
        let mut properties = properties(
            self.kind.as_deref().unwrap_or_default(),
            self.message_id.as_deref().unwrap_or_default(),
        )
        .with_headers(headers.finish());
        if let Some(content_type) = &self.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        Outgoing {
            exchange,
            routing_key: routing_key.to_owned(),
            properties,
            body,
            routing: Routing::Mandatory,
        }
    }

    pub(crate) fn headers(&self, envelope: &Envelope) -> HeaderWriter {
        HeaderWriter::of(envelope, self.home, self.tick.clone())
    }
}

/// The message's own time.
pub(crate) fn sent_at(properties: &BasicProperties) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from((*properties.timestamp())?).ok()?;
    DateTime::from_timestamp(seconds, 0)
}
