//! Putting it together: one subscriber with a log layer and a trace layer, each with its own filter, and the
//! bounded flush at the end.

use std::io;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::TelemetryError;
use crate::interval::IntervalTracer;
use crate::logs::{LogLayer, Style};
use crate::settings::{LogFormat, TelemetrySection, TelemetrySettings, TracesExport};
use crate::{ServiceIdentity, traces};

/// Longest the last spans may take to leave.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
/// The name of our tracer: the instrumentation scope on every span.
const SCOPE: &str = "harvest";
/// Crates that speak of their own plumbing, the exporter's among them: following the export of spans with
/// spans would never end. (lapin calls a connection that was closed on purpose an error.)
const PLUMBING: [&str; 8] = ["h2", "hyper", "tonic", "tower", "reqwest", "rustls", "lapin", "opentelemetry"];

/// Running telemetry. Keep it until the end of main and call [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct Telemetry {
    dispatch: Dispatch,
    provider: SdkTracerProvider,
    resource: Resource,
}

/// How the last flush went. Nothing to act on: spans may be lost, work never is. It tells of what was still
/// waiting at the end; exports that failed earlier were logged as they failed (module `opentelemetry_sdk`).
#[derive(Debug)]
#[must_use = "say so when the last spans were lost"]
pub enum Flush {
    /// Nothing is left: it was handed over, given up before, or there was nobody to hand it to.
    Flushed,
    /// The collector refused or failed.
    Failed(OTelSdkError),
    /// The collector did not answer in time.
    TimedOut,
}

impl Telemetry {
    /// Starts telemetry for this process: logs to stderr, and the subscriber is the global one. For main only. Where traces
    /// go is said by the standard `OTEL_*` variables, looked up through `variable`, so that a `.env` file counts too.
    pub fn start(
        service: ServiceIdentity,
        section: &TelemetrySection,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TelemetryError> {
        let settings = TelemetrySettings {
            service,
            log_format: section.log_format,
            log_filter: section.log_filter.clone(),
            traces: TracesExport::from_variables(variable)?,
        };
        let telemetry = Self::prepare(&settings, io::stderr)?;
        telemetry.dispatch.clone().try_init().map_err(TelemetryError::AlreadyStarted)?;
        Ok(telemetry)
    }

    /// The same without touching anything global: run futures under it with
    /// `tracing::instrument::WithSubscriber::with_subscriber(telemetry.dispatch())`. Logs go to `log_writer`.
    pub fn prepare<W>(settings: &TelemetrySettings, log_writer: W) -> Result<Self, TelemetryError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let log_filter = log_filter(&settings.log_filter)?;
        let resource = settings.service.resource();
        let provider = traces::provider(&settings.traces, resource.clone())?;
        let tracer = provider.tracer(SCOPE);
        // The job's fields are on spans of level info; a log filter of `warn` must not strip warnings of them.
        let logged = log_filter.or(filter_fn(is_own_span));
        let exported =
            filter_fn(|metadata| metadata.level() <= &LevelFilter::INFO && !is_plumbing(metadata.target()));
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false);
        let subscriber = Registry::default()
            .with(IntervalTracer::new(tracer))
            .with(spans.with_filter(exported))
            .with(LogLayer::new(style(settings.log_format), log_writer).with_filter(logged));
        Ok(Self { dispatch: Dispatch::new(subscriber), provider, resource })
    }

    /// The subscriber, to run futures under.
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Who is speaking, for [`Metrics::new`](crate::Metrics::new).
    pub fn resource(&self) -> Resource {
        self.resource.clone()
    }

    /// Hands the last spans over, within five seconds. Call it after the work is drained; spans that end later
    /// are lost.
    pub async fn shutdown(self) -> Flush {
        let (done, flushed) = tokio::sync::oneshot::channel();
        let provider = self.provider.clone();
        // A thread of its own rather than the runtime's blocking pool: the runtime waits for its pool when it
        // is dropped, and a flush that overstays must not hold the process.
        std::thread::spawn(move || done.send(provider.shutdown_with_timeout(FLUSH_PATIENCE)));
        match tokio::time::timeout(FLUSH_PATIENCE, flushed).await {
            Ok(Ok(Ok(()))) => Flush::Flushed,
            Ok(Ok(Err(OTelSdkError::Timeout(_))) | Err(_)) | Err(_) => Flush::TimedOut,
            Ok(Ok(Err(error))) => Flush::Failed(error),
        }
    }
}

fn style(format: LogFormat) -> Style {
    let on_terminal = io::IsTerminal::is_terminal(&io::stderr());
    match format {
        LogFormat::Pretty | LogFormat::Auto if on_terminal => Style::PrettyInColour,
        LogFormat::Pretty => Style::Pretty,
        LogFormat::Json | LogFormat::Auto => Style::Json,
    }
}

/// The given directives over the silenced plumbing: what is named later wins, so `info,h2=debug` still works.
fn log_filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    let quiet =
        PLUMBING.map(|name| format!("{name}={}", if name == "opentelemetry" { "warn" } else { "off" }));
    let all = format!("{},{directives}", quiet.join(","));
    EnvFilter::builder()
        .parse(all)
        .map_err(|source| TelemetryError::LogFilter { filter: directives.to_owned(), source })
}

fn is_own_span(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.is_span() && metadata.level() <= &LevelFilter::INFO && !is_plumbing(metadata.target())
}

/// By prefix, as the filter's directives match: `hyper` covers `hyper_util::client` too.
fn is_plumbing(target: &str) -> bool {
    PLUMBING.iter().any(|name| target.starts_with(name))
}
