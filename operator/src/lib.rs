//! harvestctl: what a fleet is doing, and what an operator can do about it. One file per command.
//!
//! What is shown is decided by pure functions (`view`) from what is known; the commands around them ask RabbitMQ,
//! Daytona and git hosts, each bounded. Results go to stdout, everything else to stderr.

mod bases;
mod cli;
mod console;
mod dead_letters;
mod doctor;
mod error;
#[cfg(test)]
mod examples;
mod explain;
mod parts;
mod resolve;
mod start;
mod status;
mod submit;
mod targets;
mod time;
mod views;

use lifecycle::Shutdown;
use settings::{Environment, OperatorSettings, Problems};

pub use cli::{Arguments, Command, DeadLetters, One, Replay, Submit};
pub use console::{Console, Reader};
pub use error::Exit;
pub use start::start_telemetry;

use console::Format;
use error::CommandError;
use parts::Parts;

/// Runs one command to its end. A drain of `shutdown` ends the waiting of a command that waits.
pub async fn run(
    arguments: Arguments,
    settings: Result<OperatorSettings, Problems>,
    environment: &Environment,
    console: &mut Console,
    shutdown: &Shutdown,
) -> Exit {
    let command = perform(arguments, settings, environment, console, shutdown);
    let ended = tokio::select! {
        ended = command => ended,
        () = shutdown.forced().cancelled() => Err(CommandError::Failed(anyhow::anyhow!("interrupted"))),
    };
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            if let Some(sentence) = error.sentence() {
                console.complain(&sentence);
            }
            error.exit()
        }
    }
}

async fn perform(
    arguments: Arguments,
    settings: Result<OperatorSettings, Problems>,
    environment: &Environment,
    console: &mut Console,
    shutdown: &Shutdown,
) -> Result<Exit, CommandError> {
    let format = if arguments.json { Format::Json } else { Format::Text };
    let parts = settings.map(|settings| Parts::new(settings, environment, arguments.fleet_file));
    let needed = |parts: Result<Parts, Problems>| parts.map_err(CommandError::usage);
    match arguments.command {
        // Wrong settings are among what it looks for.
        Command::Doctor => interruptible(shutdown, doctor::run(parts, console, format)).await,
        // Waits on its own terms: what it published goes on, and it says so.
        Command::Submit(submit) => submit::run(&needed(parts)?, &submit, console, format, shutdown).await,
        // Never left in the middle: each replayed letter is settled or untouched.
        Command::DeadLetters(command) => {
            dead_letters::run(&needed(parts)?, &command, console, format, shutdown).await
        }
        Command::Status => interruptible(shutdown, status::run(&needed(parts)?, console, format)).await,
        Command::Resolve(one) => {
            interruptible(shutdown, resolve::run(&needed(parts)?, &one.target, console, format)).await
        }
        Command::Explain(one) => {
            interruptible(shutdown, explain::run(&needed(parts)?, &one.target, console, format)).await
        }
    }
}

/// For commands that only look: an interrupt ends them where they are.
async fn interruptible(
    shutdown: &Shutdown,
    command: impl Future<Output = Result<Exit, CommandError>>,
) -> Result<Exit, CommandError> {
    tokio::select! {
        ended = command => ended,
        () = shutdown.draining().cancelled() => Err(CommandError::Failed(anyhow::anyhow!("interrupted"))),
    }
}
