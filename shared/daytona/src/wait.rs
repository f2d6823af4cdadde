//! Waits with a deadline. Dropping the future ends the wait; what Daytona was asked to do goes on.
//!
//! A wait has one span, with the number of its polls. Failures that pass (Daytona down, rate limit) are waited
//! out within the deadline; all others end the wait.

use backoff::{Backoff, Pauses};
use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use crate::client::Client;
use crate::errors::{Error, ErrorKind, Retry};
use crate::ids::{SandboxId, SnapshotId};
use crate::sandbox_calls::DeleteOutcome;
use crate::states::{SandboxState, SnapshotState};
use crate::wire::Watch;

/// The deadline has passed; the last poll was made at it.
pub(crate) struct Elapsed;

/// The pauses of one wait, and its span.
pub(crate) struct Poll {
    pauses: Pauses,
    deadline: Instant,
    polls: u64,
    span: Span,
}

impl Poll {
    pub(crate) fn new(span: Span, pace: Backoff, deadline: Instant) -> Self {
        Self { pauses: pace.pauses(), deadline, polls: 0, span }
    }

    /// Counts a request; it ends with the wait.
    pub(crate) fn watch(&mut self) -> Watch {
        self.polls += 1;
        Watch::Poll(self.deadline, self.span.clone())
    }

    /// Pauses until the next poll. The last one is at the deadline.
    pub(crate) async fn pause(&mut self) -> Result<(), Elapsed> {
        let pause = self.pauses.next_pause();
        self.sleep(pause).await
    }

    /// Pauses after a failure that passes, as long as Daytona asked; hands back any other.
    pub(crate) async fn pass_over(&mut self, error: Error) -> Result<Result<(), Elapsed>, Error> {
        if !error.is_passing() {
            return Err(error);
        }
        Ok(match error.retry() {
            Retry::After(wait) => self.sleep(wait).await,
            Retry::Never | Retry::Backoff | Retry::ReadFirst => self.pause().await,
        })
    }

    async fn sleep(&mut self, pause: std::time::Duration) -> Result<(), Elapsed> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Elapsed);
        }
        tokio::time::sleep_until((now + pause).min(self.deadline)).await;
        Ok(())
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.span.record("poll.count", self.polls);
    }
}

/// A sandbox, or snapshot, that could not be seen to go.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Still there at the deadline.
    #[error("not gone at the deadline (last seen {last})")]
    TimedOut {
        /// What was last seen of it.
        last: String,
    },
    /// A call failed for good.
    #[error(transparent)]
    Call(#[from] Error),
}

impl Client {
    /// Deletes a sandbox and waits until it is gone; a sandbox that is busy is asked again when it no longer is.
    ///
    /// Creating takes Daytona up to 15 minutes to give up, pulling 30: allow 35 minutes to be sure.
    pub async fn delete_and_confirm(&self, id: &SandboxId, deadline: Instant) -> Result<(), DeleteError> {
        let span = tracing::info_span!("wait deleted", daytona.sandbox.id = %id, poll.count = Empty);
        let mut poll = Poll::new(span, self.settings.state_pace, deadline);
        let mut last = "unknown".to_owned();
        loop {
            let passed = match self.delete_round(id, &mut poll).await {
                Ok(None) => return Ok(()),
                Ok(Some(state)) => {
                    last = state.to_string();
                    poll.pause().await
                }
                Err(error) if matches!(error.kind(), ErrorKind::StateChanging | ErrorKind::Conflict) => {
                    poll.pause().await
                }
                Err(error) => poll.pass_over(error).await?,
            };
            if let Err(Elapsed) = passed {
                return Err(DeleteError::TimedOut { last });
            }
        }
    }

    /// Looks it up, and requests its deletion unless that is under way. Returns the state, or none when it is gone.
    async fn delete_round(&self, id: &SandboxId, poll: &mut Poll) -> Result<Option<SandboxState>, Error> {
        let first = poll.polls == 0;
        // No look-up before the first request: it would only delay the deletion.
        let state = if first {
            None
        } else {
            match self.look_up_sandbox(id.as_str(), poll.watch()).await? {
                None => return Ok(None),
                Some(sandbox) if sandbox.state == SandboxState::Destroyed => return Ok(None),
                Some(sandbox) if sandbox.state.is_going() => return Ok(Some(sandbox.state)),
                Some(sandbox) => Some(sandbox.state),
            }
        };
        match self.request_delete(id, poll.watch()).await? {
            DeleteOutcome::AlreadyGone => Ok(None),
            DeleteOutcome::Deleting => Ok(Some(state.unwrap_or(SandboxState::Destroying))),
        }
    }

    /// Deletes a snapshot and waits until its row is gone and its name free.
    pub async fn delete_snapshot_and_confirm(
        &self,
        id: &SnapshotId,
        deadline: Instant,
    ) -> Result<(), DeleteError> {
        let span =
            tracing::info_span!("wait snapshot deleted", daytona.snapshot.id = %id, poll.count = Empty);
        let mut poll = Poll::new(span, self.settings.state_pace, deadline);
        let mut last = "unknown".to_owned();
        loop {
            let passed = match self.delete_snapshot_round(id, &mut poll).await {
                Ok(None) => return Ok(()),
                Ok(Some(state)) => {
                    last = state.to_string();
                    poll.pause().await
                }
                Err(error) => poll.pass_over(error).await?,
            };
            if let Err(Elapsed) = passed {
                return Err(DeleteError::TimedOut { last });
            }
        }
    }

    /// As above; asked anew while the snapshot is not `removing`, since a delete in mid-build has no effect.
    async fn delete_snapshot_round(
        &self,
        id: &SnapshotId,
        poll: &mut Poll,
    ) -> Result<Option<SnapshotState>, Error> {
        let Some(snapshot) = self.look_up_snapshot(id.as_str(), poll.watch()).await? else { return Ok(None) };
        if snapshot.state == SnapshotState::Removing {
            return Ok(Some(snapshot.state));
        }
        match self.request_delete_snapshot(id, poll.watch()).await? {
            DeleteOutcome::AlreadyGone => Ok(None),
            DeleteOutcome::Deleting => Ok(Some(snapshot.state)),
        }
    }
}
