//! `harvestctl dead-letters`: look at the jobs that failed for good, and send them again.

mod bytes;
mod letter;
mod list;
mod plan;
mod replay;
mod show;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context;
use broker::{Broker, DeadLetter, DeadLetterQueue, LockError};
use chrono::Utc;
use lifecycle::Shutdown;

use crate::cli::DeadLetters;
use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::terminal::{Format, Terminal};
use letter::NoSuchLetter;

pub(crate) async fn run(
    parts: &Parts,
    command: &DeadLetters,
    terminal: &mut Terminal,
    format: Format,
    shutdown: &Shutdown,
) -> Result<Exit, CommandError> {
    let fleet = &parts.settings.fleet;
    let broker = parts.broker().await?;
    let mut queue = open(&broker).await?;
    let letters: Vec<Arc<DeadLetter>> = queue.list().await.map_err(anyhow::Error::new)?;
    let done = match command {
        DeadLetters::List => {
            terminal.show(&list::list_view(&letters, fleet, Utc::now()), format).map(|()| Exit::Done)
        }
        DeadLetters::Show { id } => match letter::find(&letters, id) {
            Ok(letter) => {
                terminal.show(&show::story_view(letter, fleet, Utc::now()), format).map(|()| Exit::Done)
            }
            Err(none) => Err(none.into()),
        },
        DeadLetters::Replay(wanted) => {
            replay::run(parts, &broker, &mut queue, &letters, wanted, terminal, format, shutdown).await
        }
    };
    queue.close().await;
    broker.close().await;
    done
}

async fn open(broker: &Broker) -> Result<DeadLetterQueue, CommandError> {
    match broker.dead_letters().await {
        Ok(queue) => Ok(queue),
        Err(LockError::Held(_)) => Err(CommandError::Failed(anyhow::anyhow!(
            "another operator is at the dead letters just now (two at once would each see half): try again"
        ))),
        Err(error) => Err(error).context("the dead letters cannot be read").map_err(CommandError::Failed),
    }
}

impl From<NoSuchLetter> for CommandError {
    fn from(error: NoSuchLetter) -> Self {
        match error {
            NoSuchLetter::None(_) => Self::NotFound(error.to_string()),
            NoSuchLetter::Several { .. } | NoSuchLetter::Short(_) => Self::usage(error),
        }
    }
}
