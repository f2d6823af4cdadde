//! The envelope as AMQP headers and back. Headers are always built anew from the envelope, so whatever the broker or a
//! stranger put there (`x-death`, `x-delivery-count`, ...) never travels on.
//!
//! Invariant: all headers of a message together stay under [`MAX_HEADER_BYTES`], whatever goes in: a larger header frame
//! would kill the connection, and the redelivery the next one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use job::{AttemptSummary, DeadLetterRecord, Envelope, LeaseSeen, Tail, truncate};
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::WorkQueue;

/// The most bytes all headers of a message have together.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

const LAST_ERROR_BYTES: usize = 1024;
const HISTORY_BYTES: usize = 4 * 1024;
const LEASE_BYTES: usize = 1024;
const TRACE_KEYS: [&str; 2] = ["traceparent", "tracestate"];
const TRACE_BYTES: usize = 512;
/// Left free beside the record for what the broker adds when it dead-letters a message itself.
const RESERVE_BYTES: usize = 1024;

pub(crate) const ATTEMPT: &str = "x-attempt";
const TICK: &str = "x-tick";
const FIRST_ENQUEUED: &str = "x-first-enqueued";
const ENQUEUED: &str = "x-enqueued";
const LAST_ERROR: &str = "x-last-error";
const HISTORY: &str = "x-history";
const LEASES_SEEN: &str = "x-leases-seen";
// Up to 0.1: of one lease, by an attempt that found its target taken.
const LEASE_SEEN: &str = "x-lease-seen";
const PREVIOUS_ATTEMPT: &str = "x-previous-attempt";
const REPLAY: &str = "x-replay-id";
const HANDED_BACK: &str = "x-handed-back";
const HOME: &str = "x-home";
// Named before the type was: messages of every version carry it.
const RECORD: &str = "x-story";

/// An envelope as it was read, with the names of the headers that could not be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadEnvelope {
    /// What was read; what could not be has its value of a first attempt.
    pub(crate) envelope: Envelope,
    /// Headers that were there and could not be read.
    pub(crate) unreadable: Vec<&'static str>,
}

/// Writes headers and keeps count of their size.
pub(crate) struct HeaderWriter {
    table: FieldTable,
    bytes: usize,
}

impl HeaderWriter {
    /// The headers of this envelope.
    pub(crate) fn of(envelope: &Envelope, home: WorkQueue, tick: Option<String>) -> Self {
        // A table begins with its own length.
        let mut this = Self { table: FieldTable::default(), bytes: 4 };
        this.number(ATTEMPT, envelope.attempt);
        this.number(HANDED_BACK, envelope.handed_back);
        this.text(HOME, home.as_str());
        this.text(FIRST_ENQUEUED, &envelope.first_enqueued.to_rfc3339());
        this.text(ENQUEUED, &envelope.enqueued.to_rfc3339());
        if let Some(tick) = tick {
            this.text(TICK, &tick);
        }
        for key in TRACE_KEYS {
            if let Some(value) = envelope.trace.get(key).filter(|value| value.len() <= TRACE_BYTES) {
                this.text(key, value);
            }
        }
        if let Some(previous) =
            envelope.previous_attempt_trace.as_ref().filter(|text| text.len() <= TRACE_BYTES)
        {
            this.text(PREVIOUS_ATTEMPT, previous);
        }
        if let Some(replay) = envelope.replay {
            this.text(REPLAY, &replay.to_string());
        }
        if let Some(error) = &envelope.last_error {
            this.text(LAST_ERROR, &truncate(error, LAST_ERROR_BYTES));
        }
        if let Some(leases) = bounded_leases(&envelope.leases_seen) {
            this.text(LEASES_SEEN, &leases);
        }
        if let Some(history) = bounded_history(&envelope.history) {
            this.text(HISTORY, &history);
        }
        this
    }

    /// With the record of a dead letter in what room is left.
    pub(crate) fn with_record(mut self, record: &DeadLetterRecord) -> Self {
        let room = MAX_HEADER_BYTES.saturating_sub(self.bytes + RESERVE_BYTES + RECORD.len() + 8);
        let record = bounded_record(record, room);
        self.text(RECORD, &record);
        self
    }

    pub(crate) fn finish(self) -> FieldTable {
        self.table
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn text(&mut self, key: &'static str, value: &str) {
        // The key's length and the type take a byte each, the text's length four.
        self.bytes += key.len() + value.len() + 6;
        self.table.insert(key.into(), AMQPValue::LongString(value.into()));
    }

    fn number(&mut self, key: &'static str, value: u32) {
        // The key's length and the type take a byte each, the number eight.
        self.bytes += key.len() + 10;
        self.table.insert(key.into(), AMQPValue::LongLongInt(i64::from(value)));
    }
}

/// The first leases that fit, as JSON; none when there are none.
fn bounded_leases(leases: &[LeaseSeen]) -> Option<String> {
    (1..=leases.len()).rev().map(|count| json(&leases[..count])).find(|text| text.len() <= LEASE_BYTES)
}

/// The latest attempts that fit, as JSON; none when there are none.
fn bounded_history(history: &[AttemptSummary]) -> Option<String> {
    let newest = &history[history.len().saturating_sub(job::MAX_HISTORY)..];
    (0..newest.len()).map(|skip| json(&newest[skip..])).find(|text| text.len() <= HISTORY_BYTES)
}

/// The record as JSON of at most `room` bytes: the log's oldest lines go first, then long sentences.
fn bounded_record(record: &DeadLetterRecord, room: usize) -> String {
    let mut record = record.clone();
    let mut tail_bytes = Tail::HEADER_BYTES;
    loop {
        if let Some(failure) = &mut record.failure {
            failure.log_tail = failure.log_tail.last_bytes(tail_bytes);
        }
        let text = json(&record);
        if text.len() <= room || tail_bytes == 0 {
            break;
        }
        // JSON may write one byte as six, so halving finds the fit where subtracting would overshoot.
        tail_bytes = if tail_bytes < 64 { 0 } else { tail_bytes / 2 };
    }
    for sentence_bytes in [1024, 256, 64, 0] {
        let text = json(&record);
        if text.len() <= room {
            return text;
        }
        shorten_sentences(&mut record, sentence_bytes);
    }
    json(&record)
}

fn shorten_sentences(record: &mut DeadLetterRecord, bytes: usize) {
    let shorten = |text: &mut String| *text = truncate(text, bytes.max(16));
    if let Some(failure) = &mut record.failure {
        shorten(&mut failure.message);
        if let job::Scope::GitHost(host) = &mut failure.scope {
            shorten(host);
        }
    }
    record.decode_error.as_mut().map(shorten);
    record.trace_id.as_mut().map(shorten);
    shorten(&mut record.worker);
    shorten(&mut record.queue);
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| unreachable!("headers have only string keys: {error}"))
}

/// Reads headers leniently: a message of a stranger, or of another version, is still a message.
pub(crate) struct HeaderReader<'a> {
    table: Option<&'a FieldTable>,
    unreadable: Vec<&'static str>,
}

impl<'a> HeaderReader<'a> {
    pub(crate) fn new(table: Option<&'a FieldTable>) -> Self {
        Self { table, unreadable: Vec::new() }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a AMQPValue> {
        self.table?.inner().get(key)
    }

    /// A text, whatever AMQP type it has.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        text_of(self.value(key)?)
    }

    /// A whole number, whatever AMQP type it has.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        number_of(self.value(key)?)
    }

    pub(crate) fn home(&self) -> Option<WorkQueue> {
        self.text(HOME)?.parse().ok()
    }

    pub(crate) fn record(&self) -> Option<DeadLetterRecord> {
        serde_json::from_str(self.text(RECORD)?).ok()
    }

    /// The envelope; `sent` is the message's own time, for want of the headers.
    pub(crate) fn envelope(mut self, sent: DateTime<Utc>) -> ReadEnvelope {
        let mut envelope = Envelope::first(sent, BTreeMap::new());
        envelope.attempt = self.read(ATTEMPT, Self::count).unwrap_or(1).max(1);
        envelope.handed_back = self.read(HANDED_BACK, Self::count).unwrap_or(0);
        envelope.first_enqueued = self.read(FIRST_ENQUEUED, Self::time).unwrap_or(sent);
        envelope.enqueued = self.read(ENQUEUED, Self::time).unwrap_or(sent);
        envelope.last_error = self.read(LAST_ERROR, |this, key| this.text(key).map(str::to_owned));
        envelope.previous_attempt_trace =
            self.read(PREVIOUS_ATTEMPT, |this, key| this.text(key).map(str::to_owned));
        envelope.replay = self.read(REPLAY, |this, key| this.text(key)?.parse().ok());
        envelope.history = self.read(HISTORY, Self::json::<Vec<AttemptSummary>>).unwrap_or_default();
        let of_one = self.read(LEASE_SEEN, Self::json::<LeaseSeen>);
        let of_all = self.read(LEASES_SEEN, Self::json::<Vec<LeaseSeen>>);
        envelope.leases_seen = of_all.unwrap_or_else(|| of_one.into_iter().collect());
        for key in TRACE_KEYS {
            if let Some(value) = self.text(key) {
                envelope.trace.insert(key.to_owned(), value.to_owned());
            }
        }
        ReadEnvelope { envelope, unreadable: self.unreadable }
    }

    fn read<T>(&mut self, key: &'static str, parse: impl Fn(&Self, &'static str) -> Option<T>) -> Option<T> {
        self.value(key)?;
        let value = parse(self, key);
        if value.is_none() {
            self.unreadable.push(key);
        }
        value
    }

    fn count(&self, key: &'static str) -> Option<u32> {
        self.number(key).and_then(|number| u32::try_from(number).ok())
    }

    fn time(&self, key: &'static str) -> Option<DateTime<Utc>> {
        self.text(key)?.parse().ok()
    }

    fn json<T: DeserializeOwned>(&self, key: &'static str) -> Option<T> {
        serde_json::from_str(self.text(key)?).ok()
    }
}

pub(crate) fn text_of(value: &AMQPValue) -> Option<&str> {
    if let AMQPValue::LongString(text) = value {
        return std::str::from_utf8(text.as_bytes()).ok();
    }
    if let AMQPValue::ShortString(text) = value { Some(text.as_str()) } else { None }
}

pub(crate) fn number_of(value: &AMQPValue) -> Option<i64> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other AMQP type is not a whole number")]
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
