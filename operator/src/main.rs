//! `harvestctl`: settings, telemetry, lifecycle, run, flush.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use lifecycle::Lifecycle;
use operator::{Arguments, Exit, Terminal};
use settings::{Environment, OperatorSettings};
use telemetry::{Flush, Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut terminal = Terminal::of_process();
    let exit = match start_and_run(arguments, &mut terminal).await {
        Ok(exit) => exit,
        Err(error) => {
            terminal.complain(&format!("{error:#}"));
            Exit::Usage
        }
    };
    exit.into()
}

async fn start_and_run(arguments: Arguments, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let environment = Environment::read(Path::new("."))?;
    let settings = OperatorSettings::load(&environment, arguments.config.as_deref());
    let telemetry = match &settings {
        Ok(settings) => Some(operator::start_telemetry(settings, &arguments)?),
        // The command says what is wrong; `doctor` among other things.
        Err(_) => None,
    };
    let lifecycle = Lifecycle::listen_for_signals()?;
    let exit = operator::run(arguments, settings, &environment, terminal, lifecycle.shutdown()).await;
    if let Some(lost) = flush(telemetry).await {
        terminal.complain(&lost);
    }
    Ok(exit)
}

async fn flush(telemetry: Option<Telemetry>) -> Option<String> {
    match telemetry?.shutdown().await {
        Flush::Flushed => None,
        Flush::Failed(error) => Some(format!("the last spans were lost: {error}")),
        Flush::TimedOut => Some("the last spans were lost: the collector did not answer in time".to_owned()),
    }
}
