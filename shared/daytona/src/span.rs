//! The CLIENT span of one HTTP attempt, after OpenTelemetry's HTTP conventions, and the trace context sent with it.

use opentelemetry::propagation::Injector;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use url::Url;

use crate::errors::Error;
use crate::operation::Operation;

/// Opens the span of the `resend`-th repetition of a call.
pub(crate) fn open(operation: Operation, url: &Url, resend: u32) -> Span {
    let span = tracing::info_span!(
        "http",
        otel.name = format!("{} {}", operation.method, operation.template),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = operation.method.as_str(),
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        url.template = operation.template,
        url.full = %shown(url),
        server.address = url.host_str().unwrap_or_default(),
        server.port = url.port_or_known_default(),
        error.type = Empty,
    );
    if resend > 0 {
        span.record("http.request.resend_count", resend);
    }
    span
}

/// A URL without its query, which carries label filters and paths.
fn shown(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown
}

/// Writes down that an attempt failed.
pub(crate) fn fail(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    match error {
        Error::Refused { status, .. }
        | Error::Contradicted { status, .. }
        | Error::NoSuchRegion { status, .. } => span.record("error.type", status.to_string()),
        Error::TimedOut { .. } => span.record("error.type", "timeout"),
        Error::Unreachable { .. } => span.record("error.type", "unreachable"),
        Error::Undecodable { .. } => span.record("error.type", "undecodable"),
        Error::TooLarge { .. } => span.record("error.type", "too_large"),
        Error::KeyRefused { .. } | Error::Endless { .. } | Error::Unaddressable { .. } => {
            span.record("error.type", "_OTHER")
        }
    };
}

/// The headers that tie a request to `span`.
pub(crate) fn context(span: &Span) -> HeaderMap {
    let mut headers = Headers(HeaderMap::new());
    let context = span.context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut headers);
    });
    headers.0
}

struct Headers(HeaderMap);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty tracestate when there is none, which the standard discourages.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
