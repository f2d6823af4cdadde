//! Telemetry for a program that ends soon: traces as everywhere, logs only when asked for.

use std::io::IsTerminal;

use settings::{LogFormat, OperatorSettings};
use telemetry::{ServiceIdentity, Telemetry, TelemetrySettings, TracesExport};

use crate::cli::Arguments;

/// Starts telemetry for the whole process.
pub fn start_telemetry(settings: &OperatorSettings, arguments: &Arguments) -> anyhow::Result<Telemetry> {
    let told = &settings.telemetry;
    let log_format = match told.log_format {
        LogFormat::Pretty => telemetry::LogFormat::Pretty,
        LogFormat::Auto if std::io::stderr().is_terminal() => telemetry::LogFormat::Pretty,
        LogFormat::Json | LogFormat::Auto => telemetry::LogFormat::Json,
    };
    // What matters is said by the command in its own words; logs underneath would only say it again.
    let log_filter = if arguments.verbose { told.log_filter.clone() } else { "off".to_owned() };
    Ok(Telemetry::start(&TelemetrySettings {
        service: ServiceIdentity {
            name: "harvestctl".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: settings.fleet.to_string(),
            instance: std::process::id().to_string(),
        },
        log_format,
        log_filter,
        traces: TracesExport::from_variables(|name| told.opentelemetry(name))?,
    })?)
}
