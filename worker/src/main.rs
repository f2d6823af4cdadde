//! `worker`: takes jobs from RabbitMQ and builds each repository in its own Daytona sandbox.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use settings::{Environment, WorkerSettings};
use telemetry::Flush;

/// Takes one job per free slot, builds it in a Daytona sandbox, and promotes the prebuild.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Settings laid over the shipped defaults (config/worker.toml lists every knob).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks a running worker's endpoint whether it is alive; exit code 0 when it is. For images without a shell.
    Healthcheck {
        /// The endpoint.
        #[arg(long, default_value = "http://127.0.0.1:8080/healthz")]
        url: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Some(Command::Healthcheck { url }) => {
            lifecycle::healthcheck(&url).await.context("the worker is not alive")
        }
        None => serve(arguments.config.as_deref()).await,
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

async fn serve(config: Option<&std::path::Path>) -> anyhow::Result<()> {
    let environment = Environment::read(&std::env::current_dir()?)?;
    let settings = WorkerSettings::load(&environment, config)?;
    let name = worker::instance_name(&environment);
    let telemetry = worker::start_telemetry(&settings, &name)?;
    let lifecycle = lifecycle::Lifecycle::listen_for_signals()?;
    let metrics = telemetry::Metrics::new(telemetry.resource())?;
    let listener = lifecycle::bind(settings.http.listen).await?;
    tracing::info!(effective = %settings.effective, "settings");
    let ran = worker::run(settings, name, listener, metrics, lifecycle.shutdown().clone()).await;
    if !matches!(telemetry.shutdown().await, Flush::Flushed) {
        complain("the last spans did not reach the collector");
    }
    Ok(ran?)
}

/// For people at a terminal; the log says it too, where there is one.
fn complain(what: &str) {
    // Without a stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "worker: {what}"));
}
