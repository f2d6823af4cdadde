//! `harvestctl dead-letters replay`: one by one, each with its result; an interrupt stops between two.

use std::sync::Arc;

use broker::{Broker, DeadLetter, DeadLetterQueue};
use job::{FleetName, JobId, Target};
use lifecycle::Shutdown;
use serde::Serialize;

use super::letter::{LetterView, Promoted, find};
use super::plan::{SettingsFrom, plan};
use super::send::Sender;
use crate::acts::OperatorActs;
use crate::bases::look_up_bases;
use crate::broker_access::read_register;
use crate::cli;
use crate::daytona_access::DaytonaAccess;
use crate::error::{CommandError, Exit};
use crate::fleet_file_source::FleetFileSource;
use crate::output::{Output, View};
use crate::terminal::Answer;

/// What became of each letter.
#[derive(Debug, Serialize)]
struct ReplayView {
    replayed: Vec<ReplayedView>,
}

/// What became of one letter.
#[derive(Debug, Serialize)]
struct ReplayedView {
    id: String,
    target: Option<Target>,
    job: Option<JobId>,
    /// The replay's own id, when it was sent.
    replay: Option<String>,
    /// Why not, when it was not.
    error: Option<String>,
}

impl View for ReplayView {
    fn text(&self) -> String {
        let line = |one: &ReplayedView| {
            let target = one.target.as_ref().map(|target| format!("  {target}")).unwrap_or_default();
            match &one.error {
                None => format!("{}{target}  sent again\n", one.id),
                Some(error) => format!("{}{target}  not sent: {error}\n", one.id),
            }
        };
        if self.replayed.is_empty() {
            return "no dead letters\n".to_owned();
        }
        self.replayed.iter().map(line).collect()
    }
}

/// Sends dead letters again, with what it asks and writes.
pub(super) struct Replayer<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) acts: &'a OperatorActs,
    pub(super) broker: &'a Broker,
}

impl Replayer<'_> {
    /// Sends those of the letters that are wanted, once somebody has agreed.
    pub(super) async fn replay(
        &self,
        queue: &mut DeadLetterQueue,
        letters: &[Arc<DeadLetter>],
        wanted: &cli::Replay,
        output: &mut Output<'_>,
        shutdown: &Shutdown,
    ) -> Result<Exit, CommandError> {
        let chosen = choose(letters, wanted)?;
        let load = if wanted.as_recorded { None } else { Some(self.fleet_file.load()?) };
        if !chosen.is_empty() && !wanted.yes {
            let question = format!("Send {} dead letter(s) of fleet {} again?", chosen.len(), self.fleet);
            if output.confirm(&question)? == Answer::No {
                output.print_note("nothing was sent")?;
                return Ok(Exit::Failed);
            }
        }
        let names =
            load.iter().flat_map(|load| &load.targets).map(|(_, settings)| settings.base_snapshot.as_str());
        let bases = look_up_bases(self.daytona, names, output).await?;
        let from = load.as_ref().map_or(SettingsFrom::Recorded, |load| SettingsFrom::FleetFile(load, &bases));
        let register = read_register(self.broker).await?;
        let mut sender = Sender { acts: self.acts, publisher: self.broker.publisher(), register, queue };
        let mut results = Vec::with_capacity(chosen.len());
        for letter in chosen {
            if shutdown.draining().is_cancelled() {
                output.print_note("interrupted: the rest was left as it is")?;
                break;
            }
            results.push(replay_one(&mut sender, &letter, self.fleet, from).await);
        }
        let all_sent = results.iter().all(|one| one.error.is_none()) && !shutdown.draining().is_cancelled();
        output.print(&ReplayView { replayed: results })?;
        Ok(if all_sent { Exit::Done } else { Exit::Failed })
    }
}

/// Each once, even where several ids, or copies of one message, mean the same.
fn choose(letters: &[Arc<DeadLetter>], wanted: &cli::Replay) -> Result<Vec<DeadLetter>, CommandError> {
    let meant: Vec<&DeadLetter> = if wanted.all {
        letters.iter().map(AsRef::as_ref).collect()
    } else {
        wanted.ids.iter().map(|id| find(letters, id)).collect::<Result<_, _>>()?
    };
    let mut chosen: Vec<DeadLetter> = Vec::with_capacity(meant.len());
    for letter in meant {
        if !chosen.iter().any(|other| other.id == letter.id) {
            chosen.push(letter.clone());
        }
    }
    Ok(chosen)
}

async fn replay_one(
    sender: &mut Sender<'_>,
    letter: &DeadLetter,
    fleet: &FleetName,
    from: SettingsFrom<'_>,
) -> ReplayedView {
    let view = LetterView::new(letter, fleet, &Promoted::new());
    let (replay, error) = match plan(letter, fleet, from) {
        Err(refused) => (None, Some(refused.to_string())),
        Ok(job) => match sender.send(letter, job).await {
            Ok(replay) => (Some(replay), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        },
    };
    ReplayedView { id: view.short_id, target: view.target, job: view.job, replay, error }
}
