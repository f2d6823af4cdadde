//! `harvestctl dead-letters replay`: one by one, each with its result; an interrupt stops between two.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, DeadLetter, DeadLetterQueue, PublishSpan, Register, Replay, WorkQueue};
use chrono::Utc;
use job::{Job, JobId, LedgerEntry, LedgerEvent, RegisterEntry, Target, TargetState};
use lifecycle::Shutdown;
use serde::Serialize;
use tracing::Instrument;

use super::letter::{LetterView, find};
use super::plan::{SettingsFrom, plan};
use crate::bases::look_up_bases;
use crate::cli;
use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::terminal::{Answer, Format, Terminal, View};

/// How long the register may take to be current before a letter is closed in it.
const SYNC: Duration = Duration::from_secs(10);

/// What became of each.
#[derive(Debug, Serialize)]
struct ReplayView {
    replayed: Vec<ReplayedView>,
}

/// What became of one.
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

#[expect(clippy::too_many_arguments, reason = "a command's own parts, each used once")]
pub(super) async fn run(
    parts: &Parts,
    broker: &Broker,
    queue: &mut DeadLetterQueue,
    letters: &[Arc<DeadLetter>],
    wanted: &cli::Replay,
    terminal: &mut Terminal,
    format: Format,
    shutdown: &Shutdown,
) -> Result<Exit, CommandError> {
    let chosen = choose(letters, wanted)?;
    let load = if wanted.as_recorded { None } else { Some(parts.fleet_file()?) };
    if !chosen.is_empty() && !wanted.yes {
        let question =
            format!("Send {} dead letter(s) of fleet {} again?", chosen.len(), parts.settings.fleet);
        if terminal.confirm(&question)? == Answer::No {
            terminal.say("nothing was sent")?;
            return Ok(Exit::Failed);
        }
    }
    let names =
        load.iter().flat_map(|load| &load.targets).map(|(_, settings)| settings.base_snapshot.as_str());
    let bases = look_up_bases(parts, names, terminal).await?;
    let from = load.as_ref().map_or(SettingsFrom::Recorded, |load| SettingsFrom::FleetFile(load, &bases));
    let mut replayer = Replayer { parts, broker, register: parts.register(broker).await?, queue, from };
    let mut results = Vec::with_capacity(chosen.len());
    for letter in chosen {
        if shutdown.draining().is_cancelled() {
            terminal.say("interrupted: the rest was left as it is")?;
            break;
        }
        results.push(replayer.replay(&letter).await);
    }
    let all_sent = results.iter().all(|one| one.error.is_none()) && !shutdown.draining().is_cancelled();
    terminal.show(&ReplayView { replayed: results }, format)?;
    Ok(if all_sent { Exit::Done } else { Exit::Failed })
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

struct Replayer<'a> {
    parts: &'a Parts,
    broker: &'a Broker,
    register: Register,
    queue: &'a mut DeadLetterQueue,
    from: SettingsFrom<'a>,
}

impl Replayer<'_> {
    async fn replay(&mut self, letter: &DeadLetter) -> ReplayedView {
        let view = LetterView::new(letter, &self.parts.settings.fleet);
        let (replay, error) = match plan(letter, &self.parts.settings.fleet, self.from) {
            Err(refused) => (None, Some(refused.to_string())),
            Ok(job) => match self.send(letter, job).await {
                Ok(replay) => (Some(replay), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            },
        };
        ReplayedView { id: view.short_id, target: view.target, job: view.job, replay, error }
    }

    async fn send(&mut self, letter: &DeadLetter, job: Job) -> anyhow::Result<String> {
        self.close_in_register(&job).await.context("the register could not be told")?;
        let (id, target) = (job.id, job.target.clone());
        let span = PublishSpan::new(&job, WorkQueue::OnDemand);
        let parent = telemetry::set_parent(span.span(), &letter.envelope.trace);
        tracing::trace!(?parent, "the replay joins the trace of its job");
        let ids = [letter.id.clone()];
        let replaying = self.queue.replay(&ids, |_| Replay::Job(Box::new(job.clone())));
        let mut results = replaying.instrument(span.span().clone()).await;
        let (_, result) = results.pop().context("the desk gave no answer")?;
        let replay = result.inspect_err(|error| span.record_error(error))?;
        drop(span);
        self.tell_ledger(letter, id, target).await;
        Ok(replay.to_string())
    }

    /// Before it is sent: a worker that meets the same failure and still sees an open letter would only count it, and
    /// the job would be in no queue at all.
    async fn close_in_register(&self, job: &Job) -> anyhow::Result<()> {
        self.register.sync(SYNC).await?;
        let Some(state) = self.register.get(&job.target) else { return Ok(()) };
        if let Some(closed) = closed(&state, job.id) {
            self.register.put(&RegisterEntry::Target(Box::new(closed))).await?;
        }
        Ok(())
    }

    async fn tell_ledger(&self, letter: &DeadLetter, job: JobId, target: Target) {
        let event = LedgerEvent::operator_act("replay", target, job);
        let trace_id = telemetry::trace_id_of(&letter.envelope.trace);
        let entry = LedgerEntry::new(Utc::now(), &self.parts.operator, event).in_trace(trace_id);
        if let Err(error) = self.broker.publisher().publish_ledger(&entry).await {
            tracing::warn!(error = error_chain::line(&error), "the ledger does not know of this replay");
        }
    }
}

/// The state without this job's open letters; none when it has none.
fn closed(state: &TargetState, job: JobId) -> Option<TargetState> {
    let mut closed = state.clone();
    closed.open_dead_letters.retain(|_, open| open.job != job);
    (closed.open_dead_letters.len() < state.open_dead_letters.len())
        .then(|| TargetState { updated_at: Utc::now(), ..closed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{dead_letter, job};

    #[test]
    fn only_the_jobs_own_letter_is_closed() {
        let state = dead_letter("acme/service@main");
        assert!(closed(&state, job(2)).is_none());
        let closed = closed(&state, job(1)).unwrap();
        assert!(closed.open_dead_letters.is_empty());
        assert_eq!(closed.last, state.last);
    }
}
