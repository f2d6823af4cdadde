//! How one dead letter is sent again: closed in the register, published, removed, and written to the ledger.

use std::time::Duration;

use anyhow::Context;
use broker::{DeadLetter, DeadLetterQueue, PublishSpan, Publisher, Register, Replay, WorkQueue};
use job::{Concern, FailureKind, Job, JobId, LedgerEvent, TargetState};
use tracing::Instrument;

use crate::acts::OperatorActs;

/// How long the register may take to be current before a letter is closed in it.
const SYNC: Duration = Duration::from_secs(10);

/// Sends letters of the queue that is held.
pub(super) struct Sender<'a> {
    pub(super) acts: &'a OperatorActs,
    pub(super) publisher: Publisher,
    pub(super) register: Register,
    pub(super) queue: &'a mut DeadLetterQueue,
}

impl Sender<'_> {
    /// Sends `job` in the letter's stead, and answers the replay's id.
    pub(super) async fn send(&mut self, letter: &DeadLetter, job: Job) -> anyhow::Result<String> {
        self.close_in_register(&job).await.context("the register could not be told")?;
        let act = LedgerEvent::operator_act("replay", job.target.clone(), job.id);
        let span = PublishSpan::new(&job, WorkQueue::OnDemand);
        let parent = telemetry::set_parent(span.span(), &letter.envelope.trace);
        tracing::trace!(?parent, "the replay joins the trace of its job");
        let ids = [letter.id.clone()];
        let replaying = self.queue.replay(&ids, |_| Replay::Job(Box::new(job.clone())));
        let mut results = replaying.instrument(span.span().clone()).await;
        let (_, result) = results.pop().context("the desk gave no answer")?;
        let replay = result.inspect_err(|error| span.record_error(error))?;
        // The span ends where the job is confirmed; the ledger is no part of it.
        drop(span);
        let trace_id = telemetry::trace_id_of(&letter.envelope.trace);
        if let Err(error) = self.acts.record(&self.publisher, act, trace_id).await {
            tracing::warn!(error = error_chain::line(&error), "the ledger does not know of this replay");
        }
        Ok(replay.to_string())
    }

    /// Before it is sent: a worker that meets the same failure and still sees an open letter would only count it, and
    /// the job would be in no queue at all.
    async fn close_in_register(&self, job: &Job) -> anyhow::Result<()> {
        self.register.sync(SYNC).await?;
        let Some(state) = self.register.get(&job.target) else { return Ok(()) };
        for failure in letters_of(job.id, &state) {
            self.register.note(&job.target, Concern::DeadLetter { failure, open: None }).await?;
        }
        Ok(())
    }
}

/// The failures whose open letter is this job's.
fn letters_of(job: JobId, state: &TargetState) -> impl Iterator<Item = FailureKind> {
    state.open_dead_letters.iter().filter(move |(_, open)| open.job == job).map(|(failure, _)| *failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{dead_letter, job};

    #[test]
    fn only_the_jobs_own_letter_is_closed() {
        let state = dead_letter("acme/service@main");
        assert_eq!(letters_of(job(2), &state).count(), 0);
        assert_eq!(letters_of(job(1), &state).collect::<Vec<_>>(), [FailureKind::InstallLockfileOutOfSync]);
    }
}
