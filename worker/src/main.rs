//! `worker`: takes jobs from RabbitMQ and builds each repository in its own Daytona sandbox.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use settings::Environment;
use telemetry::{Flush, ServiceIdentity, Telemetry};
use worker::WorkerSettings;

/// The exit code for settings or arguments that are wrong, as clap's.
const WRONG_SETTINGS: u8 = 2;

/// Takes one job per free slot, builds it in a Daytona sandbox, and promotes the prebuild.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Settings laid over the shipped defaults (config/worker.toml lists every knob).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Reads the settings, prints each with its origin, and ends: 0 when they are right, 2 when not. Connects to nothing.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks a running worker's endpoint whether it is alive; exit code 0 when it is. For images without a shell.
    Healthcheck {
        /// The endpoint that is asked.
        #[arg(long, default_value = "http://127.0.0.1:8080/healthz")]
        url: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = arguments.config.as_deref();
    let ended = match arguments.command {
        Some(Command::Healthcheck { url }) => {
            lifecycle::healthcheck(&url).await.context("the worker is not alive")
        }
        None if arguments.check => return check(config),
        None => serve(config).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What a chart or a deployment asks before it rolls settings out.
fn check(config: Option<&Path>) -> ExitCode {
    let loaded = std::env::current_dir()
        .context("the working directory cannot be read")
        .and_then(|folder| Ok(WorkerSettings::load(&Environment::read(&folder)?, config)?));
    match loaded {
        Ok(settings) => {
            for entry in settings.effective.entries() {
                // A reader that went away wants no more.
                drop(writeln!(std::io::stdout(), "{} = {}  # {}", entry.knob, entry.value, entry.from));
            }
            for name in settings.secrets.without_rule() {
                complain(&format!("{name} is set, and for nothing: [secrets.{name}] is missing"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(WRONG_SETTINGS)
        }
    }
}

async fn serve(config: Option<&Path>) -> anyhow::Result<()> {
    let environment = Environment::read(&std::env::current_dir()?)?;
    let settings = WorkerSettings::load(&environment, config)?;
    let name = telemetry::instance_name(environment.get("HOSTNAME"), "worker");
    let service = ServiceIdentity {
        name: "harvest-worker".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fleet: settings.fleet.to_string(),
        instance: name.clone(),
    };
    let telemetry = Telemetry::start(service, &settings.file.telemetry, environment.lookup())?;
    let lifecycle = lifecycle::Lifecycle::listen_for_signals()?;
    let metrics = telemetry::Metrics::new(telemetry.resource())?;
    let listener = lifecycle::bind(settings.file.http.listen).await?;
    tracing::info!(effective = %settings.effective, "settings");
    let ran = worker::run(settings, name, listener, metrics, lifecycle.shutdown().clone()).await;
    let flushed = lifecycle.shutdown().farewell().wait(Duration::ZERO, telemetry.shutdown()).await;
    if !matches!(flushed, Some(Flush::Flushed)) {
        complain("the last spans did not reach the collector");
    }
    Ok(ran?)
}

/// For people at a terminal; the log says it too, where there is one.
fn complain(what: &str) {
    // Without a stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "worker: {}", telemetry::visible(what)));
}
