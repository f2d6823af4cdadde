//! A received span, flattened from OTLP's messages into what tests ask about.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as WireKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};

/// A span as the collector received it.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedSpan {
    /// Sixteen bytes in hexadecimal digits.
    pub trace_id: String,
    /// Eight bytes in hexadecimal digits.
    pub span_id: String,
    /// In hex; none for a root.
    pub parent_span_id: Option<String>,
    /// The name it was exported under.
    pub name: String,
    /// Which side of a call or message it is.
    pub kind: SpanKind,
    /// When it began, by the sender's clock.
    pub start: DateTime<Utc>,
    /// When it ended, by the sender's clock.
    pub end: DateTime<Utc>,
    /// Its attributes; numbers and booleans as text.
    pub attributes: BTreeMap<String, String>,
    /// The spans it links to.
    pub links: Vec<SpanRef>,
    /// The names of its events.
    pub events: Vec<String>,
    /// How it says it went.
    pub outcome: Outcome,
    /// The attributes of the program that sent it.
    pub resource: BTreeMap<String, String>,
}

/// Another span, as a link names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRef {
    /// Sixteen bytes in hexadecimal digits.
    pub trace_id: String,
    /// Eight bytes in hexadecimal digits.
    pub span_id: String,
}

/// The kind of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// The sender named no kind.
    Unspecified,
    /// Work inside the program.
    Internal,
    /// The answering side of a request.
    Server,
    /// The asking side of a request.
    Client,
    /// The sending side of a message.
    Producer,
    /// The processing side of a message.
    Consumer,
}

/// The status of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It does not say.
    Unset,
    /// The sender says that it went well.
    Ok,
    /// An error, with its description.
    Error(String),
}

impl CollectedSpan {
    /// How others refer to it.
    pub fn reference(&self) -> SpanRef {
        SpanRef { trace_id: self.trace_id.clone(), span_id: self.span_id.clone() }
    }

    /// Whether it is a child of `parent`, in the same trace.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.trace_id == parent.trace_id && self.parent_span_id.as_ref() == Some(&parent.span_id)
    }
}

pub(super) fn collected(from: ResourceSpans) -> Vec<CollectedSpan> {
    let resource = attributes(from.resource.map(|resource| resource.attributes).unwrap_or_default());
    let spans = from.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| collect(span, resource.clone())).collect()
}

fn collect(span: Span, resource: BTreeMap<String, String>) -> CollectedSpan {
    let link = |trace_id: &[u8], span_id: &[u8]| SpanRef { trace_id: hex(trace_id), span_id: hex(span_id) };
    CollectedSpan {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        kind: kind(span.kind()),
        start: instant(span.start_time_unix_nano),
        end: instant(span.end_time_unix_nano),
        links: span.links.iter().map(|to| link(&to.trace_id, &to.span_id)).collect(),
        events: span.events.into_iter().map(|event| event.name).collect(),
        outcome: span.status.map_or(Outcome::Unset, outcome),
        attributes: attributes(span.attributes),
        name: span.name,
        resource,
    }
}

fn kind(kind: WireKind) -> SpanKind {
    match kind {
        WireKind::Unspecified => SpanKind::Unspecified,
        WireKind::Internal => SpanKind::Internal,
        WireKind::Server => SpanKind::Server,
        WireKind::Client => SpanKind::Client,
        WireKind::Producer => SpanKind::Producer,
        WireKind::Consumer => SpanKind::Consumer,
    }
}

fn outcome(status: Status) -> Outcome {
    match status.code() {
        StatusCode::Unset => Outcome::Unset,
        StatusCode::Ok => Outcome::Ok,
        StatusCode::Error => Outcome::Error(status.message),
    }
}

fn attributes(of: Vec<KeyValue>) -> BTreeMap<String, String> {
    of.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn instant(unix_nanos: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(unix_nanos).unwrap_or(i64::MAX))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16);
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).filter_map(digit).collect()
}
