//! The tracer provider: spans are always made, and exported only where settings say so.
//!
//! Invariant: ending a span never waits. The batch processor's queue is bounded and drops when full; its
//! thread is the only thing a slow collector slows.

use std::time::Duration;

use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use secrecy::ExposeSecret;

use crate::error::TelemetryError;
use crate::settings::{Otlp, OtlpProtocol, TracesExport};

/// Longest one export may take. Below the flush bound, so that one dead export leaves room for a last try.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) fn provider(
    traces: &TracesExport,
    resource: Resource,
) -> Result<SdkTracerProvider, TelemetryError> {
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let builder = match traces {
        TracesExport::Off => builder,
        TracesExport::Otlp(otlp) => builder.with_batch_exporter(exporter(otlp)?),
    };
    Ok(builder.build())
}

fn exporter(otlp: &Otlp) -> Result<SpanExporter, TelemetryError> {
    let refused = |source| TelemetryError::Exporter { endpoint: without_credentials(&otlp.endpoint), source };
    match otlp.protocol {
        OtlpProtocol::Grpc => {
            if tokio::runtime::Handle::try_current().is_err() {
                return Err(TelemetryError::NoRuntime);
            }
            let mut builder = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&otlp.endpoint)
                .with_timeout(EXPORT_TIMEOUT)
                .with_metadata(metadata(otlp));
            if let Some(path) = &otlp.certificate_authorities {
                let pem = std::fs::read(path).map_err(|source| TelemetryError::CertificateAuthorities {
                    path: path.clone(),
                    source,
                })?;
                let authority = Certificate::from_pem(pem);
                builder = builder
                    .with_tls_config(ClientTlsConfig::new().with_native_roots().ca_certificate(authority));
            }
            builder.build().map_err(refused)
        }
        OtlpProtocol::HttpProtobuf => {
            if otlp.certificate_authorities.is_some() {
                return Err(TelemetryError::CertificateAuthoritiesOverHttp);
            }
            let headers = otlp.headers.iter();
            SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(&otlp.endpoint)
                .with_timeout(EXPORT_TIMEOUT)
                .with_headers(
                    headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect(),
                )
                .build()
                .map_err(refused)
        }
    }
}

/// Names and values were checked when the settings were read; what is unusable is left out, as over HTTP.
fn metadata(otlp: &Otlp) -> MetadataMap {
    let headers = otlp.headers.iter().filter_map(|(name, value)| {
        let mut value = http::HeaderValue::try_from(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some((http::HeaderName::try_from(name).ok()?, value))
    });
    MetadataMap::from_headers(headers.collect())
}

/// `https://user:password@host/` -> `https://host/`, for errors and logs.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let rest = rest[..authority_end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }
}
