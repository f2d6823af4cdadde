//! The CLIENT span of one HTTP attempt, after OpenTelemetry's HTTP conventions.

use tracing::Span;
use tracing::field::Empty;
use url::Url;

use crate::url_shown::ShownUrl;

/// Opens a span; `hop` counts the redirects before it.
pub(crate) fn open(method: &'static str, template: &'static str, url: &Url, hop: u32) -> Span {
    let span = tracing::info_span!(
        "http",
        otel.name = format!("{method} {template}"),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        url.template = template,
        url.full = %ShownUrl::of(url),
        server.address = url.host_str().unwrap_or_default(),
        server.port = url.port_or_known_default(),
        error.type = Empty,
    );
    if hop > 0 {
        span.record("http.request.resend_count", hop);
    }
    span
}

/// Writes down how the attempt ended.
pub(crate) fn close(span: &Span, ended: Result<u16, &reqwest::Error>) {
    match ended {
        Ok(status) => {
            span.record("http.response.status_code", status);
            if status >= 400 {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", status.to_string());
            }
        }
        Err(error) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", if error.is_timeout() { "timeout" } else { "unreachable" });
        }
    }
}
