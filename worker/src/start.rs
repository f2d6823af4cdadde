//! What `main` does before it can run: who this worker is, and telemetry from its settings.

use std::io::IsTerminal;

use settings::{Environment, LogFormat, WorkerSettings};
use telemetry::{ServiceIdentity, Telemetry, TelemetrySettings, TracesExport};

/// This worker among many: the pod's or host's name, and the process where that is not unique.
pub fn instance_name(environment: &Environment) -> String {
    let host = environment.get("HOSTNAME").unwrap_or("worker").to_owned();
    format!("{host}-{}", std::process::id())
}

/// Starts telemetry for the whole process.
pub fn start_telemetry(settings: &WorkerSettings, instance: &str) -> anyhow::Result<Telemetry> {
    let told = &settings.telemetry;
    let log_format = match told.log_format {
        LogFormat::Pretty => telemetry::LogFormat::Pretty,
        LogFormat::Auto if std::io::stderr().is_terminal() => telemetry::LogFormat::Pretty,
        LogFormat::Json | LogFormat::Auto => telemetry::LogFormat::Json,
    };
    Ok(Telemetry::start(&TelemetrySettings {
        service: ServiceIdentity {
            name: "harvest-worker".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: settings.fleet.to_string(),
            instance: instance.to_owned(),
        },
        log_format,
        log_filter: told.log_filter.clone(),
        traces: TracesExport::from_variables(|name| told.opentelemetry(name))?,
    })?)
}
