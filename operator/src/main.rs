//! `harvestctl`: settings, telemetry, lifecycle, run, flush.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use lifecycle::Lifecycle;
use operator::{Arguments, Exit, OperatorSettings, Terminal};
use settings::Environment;
use telemetry::{Flush, ServiceIdentity, Telemetry, TelemetrySection};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut terminal = Terminal::of_process();
    let exit = match start_and_run(arguments, &mut terminal).await {
        Ok(exit) => exit,
        Err(error) => {
            terminal.print_error(&format!("{error:#}"));
            Exit::Usage
        }
    };
    exit.into()
}

async fn start_and_run(arguments: Arguments, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let environment = Environment::read(Path::new("."))?;
    let settings = OperatorSettings::load(&environment, arguments.config.as_deref());
    let telemetry = match &settings {
        Ok(settings) => Some(start_telemetry(settings, &arguments, &environment)?),
        // The command says what is wrong; `doctor` among other things.
        Err(_) => None,
    };
    let lifecycle = Lifecycle::listen_for_signals()?;
    let exit = operator::run(arguments, settings, &environment, terminal, lifecycle.shutdown()).await;
    if let Some(lost) = flush(telemetry).await {
        terminal.print_error(&lost);
    }
    Ok(exit)
}

/// Traces as everywhere, logs only when asked for: what matters is said by the command in its own words.
fn start_telemetry(
    settings: &OperatorSettings,
    arguments: &Arguments,
    environment: &Environment,
) -> anyhow::Result<Telemetry> {
    let service = ServiceIdentity {
        name: "harvestctl".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fleet: settings.fleet.to_string(),
        instance: std::process::id().to_string(),
    };
    let mut section: TelemetrySection = settings.telemetry.clone();
    if !arguments.verbose {
        "off".clone_into(&mut section.log_filter);
    }
    Ok(Telemetry::start(service, &section, environment.lookup())?)
}

async fn flush(telemetry: Option<Telemetry>) -> Option<String> {
    match telemetry?.shutdown().await {
        Flush::Flushed => None,
        Flush::Failed(error) => Some(format!("the last spans were lost: {error}")),
        Flush::TimedOut => Some("the last spans were lost: the collector did not answer in time".to_owned()),
    }
}
