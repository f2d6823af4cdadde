//! Ends every process of a sandbox, and starts it again from its disk, or leaves it at rest.
//!
//! A container's processes all end with it, whatever session, group or user they hide behind: nothing that runs inside can be
//! told to end as surely. A sandbox that is deleted when it stops has to be kept meanwhile, for a while and not for ever.

use std::time::Duration;

use tokio::time::Instant;
use tracing::field::Empty;

use crate::client::Client;
use crate::errors::{Error, ErrorKind};
use crate::ids::SandboxId;
use crate::sandbox::Sandbox;
use crate::states::SandboxState;
use crate::wait::{Elapsed, Poll};

/// A sandbox that was not started again.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// It is deleted or being deleted.
    #[error("the sandbox was deleted when it stopped")]
    Gone,
    /// It failed for good. It still exists: delete it.
    #[error("the sandbox is {state}: {}", reason.as_deref().unwrap_or("no reason given"))]
    Failed {
        /// The state it failed in.
        state: SandboxState,
        /// Why, where Daytona gives a reason.
        reason: Option<String>,
    },
    /// Not started again at the deadline. It still exists: delete it.
    #[error("the sandbox is not started again at the deadline (last seen {last})")]
    TimedOut {
        /// Its last known state.
        last: SandboxState,
    },
    /// A call failed for good.
    #[error(transparent)]
    Call(#[from] Error),
}

/// What is wanted next of a sandbox that is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stopping,
    Starting,
}

impl Client {
    /// Stops a started sandbox, which ends all that runs in it, and starts it again. `kept` is how long it stays if whoever
    /// asked dies while it is stopped; afterwards it is deleted when it stops, as before.
    pub async fn restart_sandbox(
        &self,
        id: &SandboxId,
        kept: Duration,
        deadline: Instant,
    ) -> Result<Sandbox, RestartError> {
        self.set_autodelete(id, kept).await?;
        let started = self.bring_to(SandboxState::Started, id, deadline).await?;
        self.set_autodelete(id, Duration::ZERO).await?;
        Ok(started)
    }

    /// Stops a started sandbox and leaves it so: a virtual machine is captured at rest. `kept` is how long it stays if nobody
    /// deletes it.
    pub async fn rest_sandbox(
        &self,
        id: &SandboxId,
        kept: Duration,
        deadline: Instant,
    ) -> Result<Sandbox, RestartError> {
        self.set_autodelete(id, kept).await?;
        self.bring_to(SandboxState::Stopped, id, deadline).await
    }

    /// Through a stop to the state wanted.
    async fn bring_to(
        &self,
        wanted: SandboxState,
        id: &SandboxId,
        deadline: Instant,
    ) -> Result<Sandbox, RestartError> {
        let span = tracing::info_span!("wait restarted", daytona.sandbox.id = %id, poll.count = Empty);
        let mut poll = Poll::new(span, self.settings.state_pace, deadline);
        let (mut phase, mut last) = (Phase::Stopping, SandboxState::Unknown);
        loop {
            let passed = match self.restart_round(&wanted, id, &mut poll, &mut phase).await {
                Ok(Ok(sandbox)) => return Ok(sandbox),
                Ok(Err(state)) => {
                    last = state;
                    poll.pause().await
                }
                Err(RestartError::Call(error)) if may_be_asked_again(&error) => poll.pause().await,
                Err(RestartError::Call(error)) => poll.pass_over(error).await?,
                Err(error) => return Err(error),
            };
            if let Err(Elapsed) = passed {
                return Err(RestartError::TimedOut { last });
            }
        }
    }

    /// Looks at it and asks for what comes next: the sandbox once it is as wanted, its state until then.
    async fn restart_round(
        &self,
        wanted: &SandboxState,
        id: &SandboxId,
        poll: &mut Poll,
        phase: &mut Phase,
    ) -> Result<Result<Sandbox, SandboxState>, RestartError> {
        let found = self.look_up_sandbox(id.as_str(), poll.watch()).await?.ok_or(RestartError::Gone)?;
        if found.state.is_going() {
            return Err(RestartError::Gone);
        }
        if found.state.is_failed() {
            return Err(RestartError::Failed { state: found.state, reason: found.error_reason });
        }
        if found.state == SandboxState::Stopped {
            *phase = Phase::Starting;
        }
        if *phase == Phase::Starting && found.state == *wanted {
            return Ok(Ok(found));
        }
        let is_started = found.state == SandboxState::Started;
        match phase {
            // Asked whenever it is seen so: an answer that was lost may not have arrived.
            Phase::Stopping if is_started => drop(self.stop_sandbox(id).await?),
            Phase::Starting if found.state == SandboxState::Stopped => drop(self.start_sandbox(id).await?),
            Phase::Stopping | Phase::Starting => {}
        }
        Ok(Err(found.state))
    }
}

/// A stopped sandbox has given its vCPU back, which others may have taken: there is room again when they end. And it may be on
/// its way already, or not be seen to be.
fn may_be_asked_again(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StateChanging
            | ErrorKind::Conflict
            | ErrorKind::WrongState
            | ErrorKind::Capacity
            | ErrorKind::SandboxQuota
    )
}
