//! `harvestctl dead-letters`: read the jobs that failed for good, and send them again.

mod bytes;
mod letter;
mod list;
mod plan;
mod replay;
mod send;
mod show;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context;
use broker::{Broker, DeadLetter, DeadLetterQueue, LockError};
use chrono::Utc;
use job::FleetName;
use lifecycle::Shutdown;

use crate::acts::OperatorActs;
use crate::broker_access::{BrokerAccess, read_register};
use crate::cli::DeadLetters;
use crate::daytona_access::DaytonaAccess;
use crate::error::{CommandError, Exit};
use crate::fleet_file_source::FleetFileSource;
use crate::output::Output;
use letter::{NoSuchLetter, Promoted};
use replay::Replayer;

/// Works on the dead letters, with what that asks and writes.
pub(super) struct DeadLetterCommands<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) acts: &'a OperatorActs,
}

impl DeadLetterCommands<'_> {
    /// Holds the dead letters while `command` runs; what is left of them goes back.
    pub(super) async fn run(
        &self,
        command: &DeadLetters,
        output: &mut Output<'_>,
        shutdown: &Shutdown,
    ) -> Result<Exit, CommandError> {
        let broker = self.broker.connect().await?;
        let mut queue = open_queue(&broker).await?;
        let letters: Vec<Arc<DeadLetter>> = queue.list().await.map_err(anyhow::Error::new)?;
        let done = match command {
            DeadLetters::List => {
                let promoted = read_promoted(&broker, output).await?;
                let view = list::list_view(&letters, self.fleet, &promoted, Utc::now());
                output.print(&view).map(|()| Exit::Done)
            }
            DeadLetters::Show { id } => match letter::find(&letters, id) {
                Ok(letter) => {
                    let promoted = read_promoted(&broker, output).await?;
                    let view = show::letter_view(letter, self.fleet, &promoted, Utc::now());
                    output.print(&view).map(|()| Exit::Done)
                }
                Err(none) => Err(none.into()),
            },
            DeadLetters::Replay(wanted) => {
                let Self { fleet, fleet_file, daytona, acts, broker: _ } = *self;
                let replayer = Replayer { fleet, fleet_file, daytona, acts, broker: &broker };
                replayer.replay(&mut queue, &letters, wanted, output, shutdown).await
            }
        };
        queue.close().await;
        broker.close().await;
        done
    }
}

/// What sessions are given of each target. The letters are told without it, where the register cannot be read.
async fn read_promoted(broker: &Broker, output: &mut Output<'_>) -> Result<Promoted, CommandError> {
    match read_register(broker).await {
        Ok(register) => {
            let states = register.targets();
            Ok(states
                .iter()
                .filter_map(|state| Some((state.target.clone(), state.promoted.clone()?)))
                .collect())
        }
        Err(error) => {
            output
                .print_note(format!("which of them are resolved by a later build is not known: {error:#}"))?;
            Ok(Promoted::new())
        }
    }
}

async fn open_queue(broker: &Broker) -> Result<DeadLetterQueue, CommandError> {
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
