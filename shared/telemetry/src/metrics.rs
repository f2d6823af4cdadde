//! The plumbing of metrics: OpenTelemetry's instruments in, Prometheus' text out. No statics: each value has
//! its own registry, so two programs in one process count apart. The instruments are each program's own.

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// Upper bounds in seconds for a histogram of durations, from one HTTP call to the longest build: give them to
/// `with_boundaries`, since the SDK's own are shaped for milliseconds. (A view would overrule what an instrument asks for.)
pub const DURATION_BUCKETS: [f64; 15] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// The metrics of one program. Clones share the same registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    provider: SdkMeterProvider,
}

/// The reader could not be registered.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be set up")]
pub struct MetricsError(#[source] OTelSdkError);

impl Metrics {
    /// Metrics spoken by `resource` (see [`Telemetry::resource`](crate::Telemetry::resource)).
    pub fn new(resource: Resource) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(MetricsError)?;
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter).build();
        Ok(Self { registry, provider })
    }

    /// Where instruments are made. A histogram of durations has the unit `s` and its own boundaries, such as
    /// [`DURATION_BUCKETS`].
    pub fn meter(&self) -> Meter {
        self.provider.meter("harvest")
    }

    /// Everything, as Prometheus scrapes it.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "metrics cannot be rendered");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests;
