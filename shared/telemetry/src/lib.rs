//! What a program of the fleet tells about itself: log lines, traces over OTLP, metrics for Prometheus, and the
//! trace context that travels in message headers.
//!
//! Nothing here can slow or stop the work: export is batched and bounded, and a dead collector costs dropped
//! spans. The only global is the subscriber, set by [`Telemetry::start`] in main; tests use
//! [`Telemetry::prepare`] and [`Telemetry::dispatch`]. Which spans and instruments exist is each program's.

#![warn(missing_docs)]

mod context;
mod error;
mod interval;
mod logs;
mod metrics;
mod resource;
mod settings;
mod start;
#[cfg(feature = "testing")]
pub mod testing;
mod traces;
mod visible;

pub use context::{
    Adoption, Carrier, add_link, carrier_of, current_trace_id, extract, inject, keep_unexported, set_parent,
    trace_id_of, traceparent_of,
};
pub use error::TelemetryError;
pub use interval::{Interval, IntervalEnd, record_interval};
pub use metrics::{DURATION_BUCKETS, Metrics, MetricsError};
pub use resource::{ServiceIdentity, instance_name};
pub use settings::{
    LogFormat, Otlp, OtlpProtocol, SettingsError, TelemetrySection, TelemetrySettings, TracesExport,
};
pub use start::{Flush, Telemetry};
pub use visible::visible;

/// The OpenTelemetry types that appear in this crate's signatures, so that its users need no version of their own.
pub use opentelemetry;
