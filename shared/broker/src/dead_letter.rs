//! One dead letter, as an operator sees it: the original bytes, the record a worker wrote, and what the broker says where
//! it gave up by itself.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, Utc};
use job::{CutMessage, DeadLetterRecord, Envelope};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::WorkQueue;
use crate::headers::{HeaderReader, HeaderWriter, ReadEnvelope, number_of, text_of};
use crate::message::sent_at;
use crate::publish::{JOB_TYPE, Outgoing, Routing, properties};

/// What operators call a dead letter: its message id (the job's id), or a name made of its bytes. It stays the same from
/// one list to the next; two copies of one message share it, and are dealt with together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(String);

impl DeadLetterId {
    /// As an operator typed it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as operators type it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(message_id: Option<&str>, cut: Option<&CutMessage>, body: &[u8]) -> Self {
        match message_id {
            Some(id) if !id.is_empty() => Self(id.to_owned()),
            // Two of which the same beginning is left are two all the same.
            _ if let Some(cut) = cut => {
                Self(format!("bytes-{}", cut.sha256.chars().take(16).collect::<String>()))
            }
            _ => {
                // Fixed keys, so the same bytes have the same name in every process.
                let mut hasher = DefaultHasher::new();
                body.hash(&mut hasher);
                Self(format!("bytes-{:016x}", hasher.finish()))
            }
        }
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the broker noted when it dead-lettered a message by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerDeath {
    /// Its word: `delivery_limit`, `expired`, `rejected`, `maxlen`.
    pub reason: String,
    /// The queue it was in.
    pub queue: String,
    /// How often it happened in that queue, as the broker counts.
    pub count: i64,
    /// When, the first time.
    pub at: Option<DateTime<Utc>>,
}

/// One dead letter, as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// What operators call it.
    pub id: DeadLetterId,
    /// The bytes as they were first published; of one that was cut, their beginning.
    pub body: Vec<u8>,
    /// The record, when a worker wrote one.
    pub record: Option<DeadLetterRecord>,
    /// What the broker noted, when it gave up by itself.
    pub broker_death: Option<BrokerDeath>,
    /// The envelope of the last attempt.
    pub envelope: Envelope,
    /// Headers that were there and could not be read.
    pub unreadable_headers: Vec<&'static str>,
    /// The message's id, if it has one.
    pub message_id: Option<String>,
    /// When it died, as well as is known.
    pub died_at: DateTime<Utc>,
    /// The work queue it belongs to.
    pub home: WorkQueue,
}

impl DeadLetter {
    /// What it is a part of, if it is no more than that.
    pub fn cut(&self) -> Option<&CutMessage> {
        self.record.as_ref()?.cut.as_ref()
    }

    pub(crate) fn read(routing_key: &str, properties: &BasicProperties, body: Vec<u8>) -> Self {
        let sent = sent_at(properties);
        let reader = HeaderReader::new(properties.headers().as_ref());
        let (record, broker_death) = (reader.record(), broker_death(reader.value("x-death")));
        let home = reader.home().or_else(|| routing_key.parse().ok()).unwrap_or(WorkQueue::Refresh);
        let died_at = record
            .as_ref()
            .map(|record| record.at)
            .or(broker_death.as_ref().and_then(|death| death.at))
            .or(sent)
            .unwrap_or_else(Utc::now);
        let ReadEnvelope { envelope, unreadable } = reader.envelope(sent.unwrap_or(died_at));
        let cut = record.as_ref().and_then(|record| record.cut.as_ref());
        let message_id = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
        Self {
            id: DeadLetterId::of(message_id.as_deref(), cut, &body),
            body,
            record,
            broker_death,
            envelope,
            unreadable_headers: unreadable,
            message_id,
            died_at,
            home,
        }
    }

    /// The same bytes under the same id.
    pub(crate) fn outgoing(&self, exchange: String, routing_key: &str, headers: HeaderWriter) -> Outgoing {
        Outgoing {
            exchange,
            routing_key: routing_key.to_owned(),
            properties: properties(JOB_TYPE, self.message_id.as_deref().unwrap_or_default())
                .with_headers(headers.finish()),
            body: self.body.clone(),
            routing: Routing::Mandatory,
        }
    }
}

/// The newest event of `x-death`; a retry queue's `expired` is a wait, not a death.
fn broker_death(value: Option<&AMQPValue>) -> Option<BrokerDeath> {
    let Some(AMQPValue::FieldArray(deaths)) = value else { return None };
    deaths.as_slice().iter().filter_map(one_death).find(|death| death.reason != "expired")
}

fn one_death(value: &AMQPValue) -> Option<BrokerDeath> {
    let AMQPValue::FieldTable(table) = value else { return None };
    let text = |key: &str| field(table, key).and_then(text_of).unwrap_or_default().to_owned();
    Some(BrokerDeath {
        reason: text("reason"),
        queue: text("queue"),
        count: field(table, "count").and_then(number_of).unwrap_or(1),
        at: field(table, "time").and_then(time_of),
    })
}

fn field<'a>(table: &'a FieldTable, key: &str) -> Option<&'a AMQPValue> {
    table.inner().get(key)
}

fn time_of(value: &AMQPValue) -> Option<DateTime<Utc>> {
    let AMQPValue::Timestamp(seconds) = value else { return None };
    DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0)
}
