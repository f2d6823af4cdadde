//! Trace context in message headers, as W3C `traceparent` and `tracestate`.
//!
//! A span's parent can only be set before the span is first entered or asked for its ids: every helper that
//! changes a span says whether it came in time.

use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

/// Headers of a message that carry the trace context.
pub type Carrier = BTreeMap<String, String>;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// What became of a request to give a span a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a span that kept its old parent is in the wrong trace"]
pub enum Adoption {
    /// The span is now a child of the carried context.
    Adopted,
    /// The carrier has no valid context: the span keeps its parent, or starts a trace.
    NoContext,
    /// The span is filtered out, or no telemetry is running.
    NotTraced,
    /// Too late: the span was entered, or its ids were asked for.
    AlreadyStarted,
}

/// The headers for `context`; empty when it has no valid span.
pub fn inject(context: &Context) -> Carrier {
    let mut headers = Headers(Carrier::new());
    TraceContextPropagator::new().inject_context(context, &mut headers);
    let Headers(mut carrier) = headers;
    // The propagator writes an empty tracestate, which some receivers reject.
    if carrier.get(TRACESTATE).is_some_and(String::is_empty) {
        carrier.remove(TRACESTATE);
    }
    carrier
}

/// The context that `carrier` carries, never mixed with the current one: no valid header, no span.
pub fn extract(carrier: &Carrier) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeadersOf(carrier))
}

/// The headers that make what receives them a child of `span`. Starts the span.
pub fn carrier_of(span: &Span) -> Carrier {
    inject(&span.context())
}

/// The `traceparent` of `span`, if it is traced. Starts the span.
pub fn traceparent_of(span: &Span) -> Option<String> {
    carrier_of(span).remove(TRACEPARENT)
}

/// The trace id of the span entered right now, in hex.
pub fn current_trace_id() -> Option<String> {
    trace_id_in(&Context::current())
}

/// The trace id a carrier carries, in hex.
pub fn trace_id_of(carrier: &Carrier) -> Option<String> {
    trace_id_in(&extract(carrier))
}

/// Makes `span` a child of the carried context. Call it right after the span is made.
pub fn set_parent(span: &Span, carrier: &Carrier) -> Adoption {
    let context = extract(carrier);
    if !context.span().span_context().is_valid() {
        return Adoption::NoContext;
    }
    adopt(span, context)
}

/// Links `span` to the carried context; without a valid one nothing happens.
pub fn add_link(span: &Span, carrier: &Carrier) {
    let linked = extract(carrier).span().span_context().clone();
    if linked.is_valid() {
        span.add_link(linked);
    }
}

/// Has `span`, and everything below it, exported nowhere, though log lines within keep the id of the current trace: for what
/// is repeated for as long as something else lasts. Call it right after the span is made.
pub fn keep_unexported(span: &Span) -> Adoption {
    let context = Context::current();
    let around = context.span().span_context().clone();
    if !around.is_valid() {
        return Adoption::NoContext;
    }
    // Whoever samples by the parent leaves out what is below one that is not sampled.
    let flags = around.trace_flags().with_sampled(false);
    let unsampled =
        SpanContext::new(around.trace_id(), around.span_id(), flags, true, around.trace_state().clone());
    adopt(span, Context::new().with_remote_span_context(unsampled))
}

fn adopt(span: &Span, parent: Context) -> Adoption {
    match span.set_parent(parent) {
        Ok(()) => Adoption::Adopted,
        Err(SetParentError::AlreadyStarted) => Adoption::AlreadyStarted,
        Err(_) => Adoption::NotTraced,
    }
}

fn trace_id_in(context: &Context) -> Option<String> {
    let id = context.span().span_context().trace_id();
    (id != TraceId::INVALID).then(|| id.to_string())
}

struct Headers(Carrier);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

struct HeadersOf<'a>(&'a Carrier);

impl Extractor for HeadersOf<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn carrier(headers: &[(&str, &str)]) -> Carrier {
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_context_survives_the_way_through_headers() {
        let sent = carrier(&[(TRACEPARENT, PARENT), (TRACESTATE, "vendor=1")]);
        assert_eq!(inject(&extract(&sent)), sent);
        assert_eq!(trace_id_of(&sent).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    }

    #[test]
    fn an_empty_tracestate_is_left_out() {
        let sent = carrier(&[(TRACEPARENT, PARENT)]);
        assert_eq!(inject(&extract(&sent)), sent);
    }

    #[test]
    fn broken_headers_carry_nothing() {
        for broken in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "nonsense"]
        {
            let sent = carrier(&[(TRACEPARENT, broken)]);
            assert_eq!(inject(&extract(&sent)), Carrier::new(), "{broken}");
            assert_eq!(trace_id_of(&sent), None, "{broken}");
        }
    }

    #[test]
    fn missing_headers_do_not_borrow_the_current_context() {
        let _entered = extract(&carrier(&[(TRACEPARENT, PARENT)])).attach();
        assert!(current_trace_id().is_some());
        assert_eq!(trace_id_of(&Carrier::new()), None);
    }

    #[test]
    fn without_telemetry_nothing_is_traced() {
        let span = tracing::info_span!("process");
        assert_eq!(set_parent(&span, &carrier(&[(TRACEPARENT, PARENT)])), Adoption::NotTraced);
        assert_eq!(set_parent(&span, &Carrier::new()), Adoption::NoContext);
        assert_eq!(traceparent_of(&span), None);
    }
}
