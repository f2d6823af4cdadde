//! `producer`: the clock of the fleet.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lifecycle::Lifecycle;
use producer::cli::{Arguments, Command};
use producer::{Clock, PlanSettings, ProducerSettings, RunContext};
use settings::Environment;
use telemetry::{Metrics, ServiceIdentity, Telemetry};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match program(arguments).await {
        Ok(code) => code,
        Err(error) => producer::cli::report_error(&error),
    }
}

async fn program(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::Healthcheck { url }) = arguments.command {
        lifecycle::healthcheck(&url).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let environment = Environment::read(Path::new("."))?;
    if arguments.dry_run {
        let settings = PlanSettings::load(&environment, arguments.config.as_deref())?;
        let found =
            producer::dry_run(&settings, arguments.fleet_file, &Clock::system(), &mut stdout().lock())?;
        producer::cli::report_holding(&found.holding);
        return Ok(producer::cli::report_problems(&found.problems));
    }
    let mut settings = ProducerSettings::load(&environment, arguments.config.as_deref())?;
    settings.fleet_file = arguments.fleet_file.unwrap_or(settings.fleet_file);
    let instance = telemetry::instance_name(environment.get("HOSTNAME"), "producer");
    let service = ServiceIdentity {
        name: "harvest-producer".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fleet: settings.fleet.to_string(),
        instance: instance.clone(),
    };
    let telemetry = Telemetry::start(service, &settings.telemetry, environment.lookup())?;
    tracing::info!(effective = %settings.effective, unread = ?settings.effective.unread(), "settings");

    let lifecycle = Lifecycle::listen_for_signals()?;
    let hangups = signal(SignalKind::hangup())?;
    let metrics = Metrics::new(telemetry.resource())?;
    let shutdown = lifecycle.shutdown().clone();
    let context = RunContext { instance, clock: Clock::system(), metrics, shutdown };

    let ended = if arguments.once {
        producer::once(settings, context, &mut stdout()).await
    } else {
        let listener = lifecycle::bind(settings.http.listen).await?;
        producer::run(settings, listener, hangups, context).await.map(|()| ExitCode::SUCCESS)
    };
    let flushed = lifecycle.shutdown().farewell().wait(Duration::ZERO, telemetry.shutdown()).await;
    if !matches!(flushed, Some(telemetry::Flush::Flushed)) {
        writeln!(std::io::stderr(), "producer: the last spans did not reach the collector")?;
    }
    Ok(ended?)
}
