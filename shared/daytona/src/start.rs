//! Waits until a sandbox is usable.

use backoff::Backoff;
use tokio::time::Instant;
use tracing::field::Empty;

use crate::client::Client;
use crate::errors::Error;
use crate::ids::SandboxId;
use crate::sandbox::Sandbox;
use crate::states::SandboxState;
use crate::wait::{Elapsed, Poll};

/// A sandbox that did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is deleted or being deleted.
    #[error("the sandbox is gone")]
    Gone,
    /// It failed for good. It still exists: delete it.
    #[error("the sandbox is {state}: {}", reason.as_deref().unwrap_or("no reason given"))]
    Failed {
        /// The state it failed in.
        state: SandboxState,
        /// Why, where Daytona gives a reason.
        reason: Option<String>,
    },
    /// It rests in a state that start must be asked for.
    #[error("the sandbox is {state} and nothing starts it")]
    NotStarting {
        /// The state it rests in.
        state: SandboxState,
    },
    /// No runner took it: there is no room for it now. It may be destroyed already.
    #[error("no runner took the sandbox in time")]
    NoRunner,
    /// Not started at the deadline. It still exists: delete it.
    #[error("the sandbox is not started at the deadline (last seen {last})")]
    TimedOut {
        /// Its last known state.
        last: SandboxState,
    },
    /// A call failed for good.
    #[error(transparent)]
    Call(#[from] Error),
}

impl Client {
    /// Waits until a sandbox is started. `pace` is [`pace::STATE`](crate::pace::STATE), or
    /// [`pace::COLD_START`](crate::pace::COLD_START) to measure one.
    pub async fn wait_until_started(
        &self,
        id: &SandboxId,
        deadline: Instant,
        pace: Backoff,
    ) -> Result<Sandbox, StartError> {
        let span = tracing::info_span!("wait started", daytona.sandbox.id = %id, poll.count = Empty);
        let mut poll = Poll::new(span, pace, deadline);
        let (mut last, mut queued) = (SandboxState::Unknown, false);
        loop {
            let passed = match self.look_up_sandbox(id.as_str(), poll.watch()).await {
                Ok(None) => return Err(StartError::Gone),
                Ok(Some(sandbox)) if sandbox.state == SandboxState::Started => return Ok(sandbox),
                Ok(Some(sandbox)) if sandbox.queue_timed_out_at.is_some() => {
                    return Err(StartError::NoRunner);
                }
                Ok(Some(sandbox)) if sandbox.state.is_going() => return Err(StartError::Gone),
                Ok(Some(sandbox)) if sandbox.state.is_failed() => {
                    return Err(StartError::Failed { state: sandbox.state, reason: sandbox.error_reason });
                }
                Ok(Some(sandbox)) if sandbox.state.is_pending() => {
                    queued = sandbox.is_queued();
                    last = sandbox.state;
                    poll.pause().await
                }
                Ok(Some(sandbox)) => return Err(StartError::NotStarting { state: sandbox.state }),
                Err(error) => poll.pass_over(error).await?,
            };
            if let Err(Elapsed) = passed {
                return Err(if queued { StartError::NoRunner } else { StartError::TimedOut { last } });
            }
        }
    }
}
