//! harvestctl: what a fleet is doing, and what an operator can do about it. One file per command, in `commands/`.
//!
//! What is shown is decided by pure functions (`view`) from what is known; the commands around them ask RabbitMQ,
//! Daytona and git hosts, each bounded. Results go to stdout, everything else to stderr.

mod acts;
mod bases;
mod broker_access;
mod cli;
mod commands;
mod daytona_access;
mod error;
#[cfg(test)]
mod examples;
mod fleet_file_source;
mod git_hosts;
mod layout;
mod output;
mod services;
mod settings;
mod targets;
mod terminal;
mod time;
mod views;

use ::settings::{Environment, Problems};
use lifecycle::Shutdown;

pub use cli::{Arguments, Command, DeadLetters, One, Replay, Submit};
pub use error::Exit;
pub use settings::OperatorSettings;
pub use terminal::{Reader, Terminal};

use error::CommandError;

/// Runs one command to its end. A drain of `shutdown` ends the waiting of a command that waits.
pub async fn run(
    arguments: Arguments,
    settings: Result<OperatorSettings, Problems>,
    environment: &Environment,
    terminal: &mut Terminal,
    shutdown: &Shutdown,
) -> Exit {
    let command = commands::run(arguments, settings, environment, terminal, shutdown);
    let ended = tokio::select! {
        ended = command => ended,
        () = shutdown.forced().cancelled() => Err(CommandError::Failed(anyhow::anyhow!("interrupted"))),
    };
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            if let Some(sentence) = error.sentence() {
                terminal.print_error(&sentence);
            }
            error.exit()
        }
    }
}
