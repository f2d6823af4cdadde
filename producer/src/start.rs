//! What main does before it can run: who this producer is, and telemetry from its settings.

use std::io::IsTerminal;

use job::FleetName;
use settings::{Environment, LogFormat, TelemetrySettings};
use telemetry::{ServiceIdentity, Telemetry, TracesExport};

/// This producer among several: the pod's or host's name and the process.
pub fn instance_name(environment: &Environment) -> String {
    format!("{}-{}", environment.get("HOSTNAME").unwrap_or("producer"), std::process::id())
}

/// Starts telemetry for the whole process.
pub fn start_telemetry(
    fleet: &FleetName,
    settings: &TelemetrySettings,
    instance: &str,
) -> anyhow::Result<Telemetry> {
    let log_format = match settings.log_format {
        LogFormat::Pretty => telemetry::LogFormat::Pretty,
        LogFormat::Auto if std::io::stderr().is_terminal() => telemetry::LogFormat::Pretty,
        LogFormat::Json | LogFormat::Auto => telemetry::LogFormat::Json,
    };
    Ok(Telemetry::start(&telemetry::TelemetrySettings {
        service: ServiceIdentity {
            name: "harvest-producer".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: fleet.to_string(),
            instance: instance.to_owned(),
        },
        log_format,
        log_filter: settings.log_filter.clone(),
        traces: TracesExport::from_variables(|name| settings.opentelemetry(name))?,
    })?)
}
