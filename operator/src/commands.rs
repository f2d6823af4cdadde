//! The commands, one file each, and which of them runs.
//!
//! A command asks RabbitMQ, Daytona and git hosts, each within a bound; what it shows is decided by pure functions in the
//! files below it.

mod dead_letters;
mod doctor;
mod explain;
mod resolve;
mod status;
mod submit;

use lifecycle::Shutdown;
use settings::{Environment, Problems};

use crate::OperatorSettings;
use crate::cli::{Arguments, Command};
use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::terminal::{Format, Terminal};

/// Runs the command that the arguments name.
pub(crate) async fn run(
    arguments: Arguments,
    settings: Result<OperatorSettings, Problems>,
    environment: &Environment,
    terminal: &mut Terminal,
    shutdown: &Shutdown,
) -> Result<Exit, CommandError> {
    let format = if arguments.json { Format::Json } else { Format::Text };
    let parts = settings.map(|settings| Parts::new(settings, environment, arguments.fleet_file));
    let needed = |parts: Result<Parts, Problems>| parts.map_err(CommandError::usage);
    match arguments.command {
        // Wrong settings are among what it looks for.
        Command::Doctor => interruptible(shutdown, doctor::run(parts, terminal, format)).await,
        // Waits on its own terms: what it published goes on, and it says so.
        Command::Submit(submit) => submit::run(&needed(parts)?, &submit, terminal, format, shutdown).await,
        // Never left in the middle: each replayed letter is settled or untouched.
        Command::DeadLetters(command) => {
            dead_letters::run(&needed(parts)?, &command, terminal, format, shutdown).await
        }
        Command::Status => interruptible(shutdown, status::run(&needed(parts)?, terminal, format)).await,
        Command::Resolve(one) => {
            interruptible(shutdown, resolve::run(&needed(parts)?, &one.target, terminal, format)).await
        }
        Command::Explain(one) => {
            interruptible(shutdown, explain::run(&needed(parts)?, &one.target, terminal, format)).await
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
