//! The fields of a span or an event, as JSON values, in the order they were first recorded.
//!
//! Bounded: a value longer than [`VALUE_LIMIT`] is cut, so that one careless line can't be megabytes.

use std::error::Error;
use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};

/// Most bytes of one value in a log line.
pub(super) const VALUE_LIMIT: usize = 8 * 1024;

#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Takes over every field of `other`; of two with one name, the later (inner) one stays.
    pub(super) fn extend(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            self.set(name, value.clone());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The event's text, which is no field in what is written.
    pub(super) fn take_message(&mut self) -> String {
        let Some(index) = self.0.iter().position(|(name, _)| *name == "message") else {
            return String::new();
        };
        let message = self.0.remove(index).1;
        message.as_str().map_or_else(|| message.to_string(), str::to_owned)
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn record(&mut self, field: &Field, value: Value) {
        // Instructions to the trace layer (span name, kind, status), not facts.
        if !field.name().starts_with("otel.") {
            self.set(field.name(), value);
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, truncate(value.to_owned()).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record(field, truncate(error_chain::line(value)).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, truncate(format!("{value:?}")).into());
    }
}

fn truncate(mut text: String) -> String {
    if text.len() > VALUE_LIMIT {
        text.truncate(text.floor_char_boundary(VALUE_LIMIT));
        text.push('…');
    }
    text
}
