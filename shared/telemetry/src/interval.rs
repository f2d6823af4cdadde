//! Spans for what is over by the time it is known whether it is worth telling: the time a message waited in a queue. They are
//! made after the fact, with their own start and end, as children of a context that was kept.

use std::borrow::Cow;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Subscriber, dispatcher};
use tracing_subscriber::layer::Layer;

use crate::context::{Carrier, extract};

/// A span that is already over.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Its name: `queue wait`, `retry wait`.
    pub name: Cow<'static, str>,
    /// When it began, by the clock of whoever began it.
    pub start: DateTime<Utc>,
    /// When it ended, by ours. Clocks differ: an end before the start becomes the start.
    pub end: DateTime<Utc>,
    /// Whether what it spans went well.
    pub ended: IntervalEnd,
    /// What else is to be known of it.
    pub attributes: Vec<KeyValue>,
}

/// How an interval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalEnd {
    /// As it should, or nobody knows.
    Passed,
    /// Badly: the span's status is an error.
    Failed,
}

/// Records `interval` as a child of the carried context, through the current subscriber. Without telemetry, or
/// without a valid context to belong to, nothing happens: a wait alone in a trace explains nothing.
pub fn record_interval(parent: &Carrier, interval: Interval) {
    let context = extract(parent);
    if !context.span().span_context().is_valid() {
        return;
    }
    let end = interval.end.max(interval.start);
    let builder = SpanBuilder::from_name(interval.name)
        .with_kind(SpanKind::Internal)
        .with_start_time(SystemTime::from(interval.start))
        .with_attributes(interval.attributes);
    dispatcher::get_default(|dispatch| {
        if let Some(IntervalTracer(tracer)) = dispatch.downcast_ref::<IntervalTracer>() {
            let mut span = tracer.build_with_context(builder.clone(), &context);
            match interval.ended {
                IntervalEnd::Passed => {}
                IntervalEnd::Failed => span.set_status(Status::error("")),
            }
            span.end_with_timestamp(end.into());
        }
    });
}

/// Keeps the tracer where the subscriber is, so that intervals need no argument handed through every layer and
/// two programs in one process do not mix.
pub(crate) struct IntervalTracer(SdkTracer);

impl IntervalTracer {
    pub(crate) fn new(tracer: SdkTracer) -> Self {
        Self(tracer)
    }
}

impl<S: Subscriber> Layer<S> for IntervalTracer {}
