//! Log lines that read alone: the event's fields, the fields of every span around it, and the ids of the trace.
//!
//! One layer for both looks, so that they can never differ in what they show. The word `target` belongs to the
//! fleet (one repository at one branch), so what tracing calls a target is `module` here.

mod fields;
mod json;
mod pretty;

use std::io::Write;

use chrono::{DateTime, Utc};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{self, Layer};
use tracing_subscriber::registry::LookupSpan;

use fields::Fields;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Json,
    Pretty,
    PrettyInColour,
}

/// Everything one line says.
struct Line<'a> {
    at: DateTime<Utc>,
    level: Level,
    module: &'a str,
    message: String,
    trace_id: Option<String>,
    span_id: Option<String>,
    fields: Fields,
}

pub(crate) struct LogLayer<W> {
    style: Style,
    writer: W,
}

impl<W> LogLayer<W> {
    pub(crate) fn new(style: Style, writer: W) -> Self {
        Self { style, writer }
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        let mut fields = Fields::default();
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(of_span) = span.extensions().get::<Fields>() {
                    fields.extend(of_span);
                }
            }
        }
        event.record(&mut fields as &mut dyn Visit);
        let (trace_id, span_id) = current_ids();
        let line = Line {
            at: Utc::now(),
            level: *event.metadata().level(),
            module: event.metadata().target(),
            message: fields.take_message(),
            trace_id,
            span_id,
            fields,
        };
        let text = match self.style {
            Style::Json => json::render(&line),
            Style::Pretty => pretty::render(&line, pretty::Colours::Off),
            Style::PrettyInColour => pretty::render(&line, pretty::Colours::On),
        };
        // A log that cannot be written has nowhere to say so.
        drop(self.writer.make_writer_for(event.metadata()).write_all(text.as_bytes()));
    }
}

/// Of the span entered right now: the trace layer makes its context current on enter.
fn current_ids() -> (Option<String>, Option<String>) {
    let context = Context::current();
    let span = context.span();
    let ids = span.span_context();
    if ids.is_valid() {
        (Some(ids.trace_id().to_string()), Some(ids.span_id().to_string()))
    } else {
        (None, None)
    }
}

#[cfg(test)]
mod tests;
