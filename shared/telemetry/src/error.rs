//! Why telemetry does not start. All of it is decided by settings, so all of it is said at the start.

use std::io;
use std::path::PathBuf;

use opentelemetry_otlp::ExporterBuildError;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use crate::SettingsError;

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter has a mistake.
    #[error("log filter `{filter}` is not understood")]
    LogFilter {
        /// The directives as they were given.
        filter: String,
        /// Where it is wrong.
        #[source]
        source: ParseError,
    },
    /// The exporter cannot be built from these settings.
    #[error("traces cannot be sent to {endpoint}")]
    Exporter {
        /// Where they were to go.
        endpoint: String,
        /// What the exporter says.
        #[source]
        source: ExporterBuildError,
    },
    /// The file of certificate authorities cannot be read.
    #[error("cannot read the certificate authorities in {}", path.display())]
    CertificateAuthorities {
        /// The file that was to be read.
        path: PathBuf,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// An extra authority was given with a transport that takes none.
    #[error(
        "OTEL_EXPORTER_OTLP_CERTIFICATE works with grpc only: for http/protobuf set SSL_CERT_FILE to a bundle \
         that has the authority, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
    )]
    CertificateAuthoritiesOverHttp,
    /// gRPC export lives on the runtime.
    #[error("exporting over grpc must be started inside a tokio runtime")]
    NoRuntime,
    /// A variable says something that is not understood.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Started twice in one process.
    #[error("another subscriber is already installed in this process")]
    AlreadyStarted(#[source] TryInitError),
}
