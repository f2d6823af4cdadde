//! Captures a sandbox as a snapshot, and knows whether it worked.
//!
//! Daytona answers at once and then fails in silence: the sandbox just returns to `started`, and a look-up by
//! name may find an older snapshot. So success is only an active snapshot of that name, made after the capture
//! began and, where Daytona says so, from this very sandbox. The row comes after the sandbox's state does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::field::Empty;

use crate::client::Client;
use crate::errors::{Error, ErrorKind, Seconds};
use crate::ids::SandboxId;
use crate::snapshot::Snapshot;
use crate::states::{SandboxState, SnapshotState};
use crate::wait::{Elapsed, Poll};

/// How often a capture that was refused because the sandbox was changing is asked for.
const MAX_REQUESTS: u32 = 8;

/// How patient a capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureLimits {
    /// From the request to the end.
    pub total: Duration,
    /// From the sandbox leaving `snapshotting` to the snapshot's row being there.
    pub grace: Duration,
    /// How far Daytona's clock may be behind ours.
    pub clock_skew: Duration,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self {
            total: Duration::from_hours(1),
            grace: Duration::from_secs(90),
            clock_skew: Duration::from_mins(2),
        }
    }
}

/// A capture that gave no snapshot, or none that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The sandbox left `snapshotting` and no snapshot came: Daytona failed without saying so.
    #[error("the capture failed in silence: no snapshot {} after the sandbox was {state} again", Seconds(*grace))]
    SilentFailure {
        /// What the sandbox returned to.
        state: SandboxState,
        /// How long the snapshot was waited for.
        grace: Duration,
    },
    /// The request was never answered, and nothing shows that it arrived.
    #[error("the capture was not begun")]
    NotBegun(#[source] Error),
    /// The name belongs to a snapshot made before, or from another sandbox.
    #[error("the snapshot's name is taken")]
    NameTaken,
    /// The snapshot itself failed.
    #[error("the snapshot is {state}: {}", reason.as_deref().unwrap_or("no reason given"))]
    SnapshotFailed {
        /// The state that no snapshot comes back from.
        state: SnapshotState,
        /// Why, where Daytona gives a reason.
        reason: Option<String>,
    },
    /// The sandbox failed under the capture.
    #[error("the sandbox is {state}: {}", reason.as_deref().unwrap_or("no reason given"))]
    SandboxFailed {
        /// The state that no sandbox comes back from.
        state: SandboxState,
        /// Why, where Daytona gives a reason.
        reason: Option<String>,
    },
    /// The sandbox went away under the capture.
    #[error("the sandbox is gone")]
    SandboxGone,
    /// Not there at the deadline.
    #[error("no snapshot within {} (sandbox last seen {last})", Seconds(*total))]
    TimedOut {
        /// How long it was given.
        total: Duration,
        /// The sandbox's last known state.
        last: SandboxState,
    },
    /// A call was refused.
    #[error(transparent)]
    Call(Error),
}

impl CaptureError {
    fn refused(error: Error) -> Self {
        if error.kind() == ErrorKind::NameTaken {
            Self::NameTaken
        } else if error.kind() == ErrorKind::NotFound {
            Self::SandboxGone
        } else {
            Self::Call(error)
        }
    }
}

/// What the snapshot of that name is to this capture.
enum Verdict {
    Ready,
    Wait,
    Foreign,
    Failed,
}

/// How far a capture has come, from one look-up of sandbox and snapshot.
enum CaptureState {
    Ready(Box<Snapshot>),
    Capturing,
    SnapshotPending(SandboxState),
    NoSnapshot(SandboxState),
}

impl Client {
    /// Captures a sandbox under a name never used before, and waits until the snapshot is usable.
    pub async fn capture(
        &self,
        sandbox: &SandboxId,
        name: &str,
        limits: CaptureLimits,
    ) -> Result<Snapshot, CaptureError> {
        let began = Utc::now();
        let deadline = Instant::now() + limits.total;
        let unanswered = self.request_capture(sandbox, name, deadline).await?;
        let ended = self.await_capture_until(sandbox, name, began, limits, deadline).await;
        match (ended, unanswered) {
            (Err(CaptureError::SilentFailure { .. }), Some(error)) => Err(CaptureError::NotBegun(error)),
            (ended, _) => ended,
        }
    }

    /// Waits for a capture that was asked for at `began`, perhaps by another process.
    pub async fn await_capture(
        &self,
        sandbox: &SandboxId,
        name: &str,
        began: DateTime<Utc>,
        limits: CaptureLimits,
    ) -> Result<Snapshot, CaptureError> {
        self.await_capture_until(sandbox, name, began, limits, Instant::now() + limits.total).await
    }

    /// Asks. A clear refusal because the sandbox was changing is asked again; no answer is never repeated, but
    /// handed back: what follows shows whether it arrived.
    async fn request_capture(
        &self,
        sandbox: &SandboxId,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Error>, CaptureError> {
        let mut poll = Poll::new(tracing::Span::none(), self.settings.state_pace, deadline);
        let mut requests = 0;
        loop {
            requests += 1;
            let error = match self.create_snapshot_from_sandbox(sandbox, name).await {
                Ok(()) => return Ok(None),
                Err(error) => error,
            };
            if error.is_unknown() {
                return Ok(Some(error));
            }
            // While it is captured already v0.190 answers 400 "must be in started or stopped state", not 409.
            let is_on_its_way = matches!(error.kind(), ErrorKind::StateChanging | ErrorKind::WrongState);
            if !is_on_its_way || requests == MAX_REQUESTS {
                return Err(CaptureError::refused(error));
            }
            match self.get_sandbox(sandbox).await.map_err(CaptureError::Call)? {
                Some(found) if found.state == SandboxState::Snapshotting => return Ok(Some(error)),
                Some(found) if error.kind() == ErrorKind::WrongState && !found.state.is_pending() => {
                    return Err(CaptureError::refused(error));
                }
                Some(_) | None => {}
            }
            if let Err(Elapsed) = poll.pause().await {
                return Err(CaptureError::Call(error));
            }
        }
    }

    async fn await_capture_until(
        &self,
        sandbox: &SandboxId,
        name: &str,
        began: DateTime<Utc>,
        limits: CaptureLimits,
        deadline: Instant,
    ) -> Result<Snapshot, CaptureError> {
        let span = tracing::info_span!(
            "wait captured",
            daytona.sandbox.id = %sandbox,
            daytona.snapshot.name = name,
            poll.count = Empty
        );
        let mut poll = Poll::new(span, self.settings.capture_pace, deadline);
        let mut last = SandboxState::Unknown;
        let mut left_at = None;
        loop {
            let passed = match self.check_capture(sandbox, name, began, limits, &mut poll).await {
                Ok(CaptureState::Ready(snapshot)) => return Ok(*snapshot),
                Ok(CaptureState::Capturing) => {
                    last = SandboxState::Snapshotting;
                    // What was seen before was the state from before the capture began.
                    left_at = None;
                    poll.pause().await
                }
                Ok(CaptureState::SnapshotPending(state)) => {
                    last = state;
                    poll.pause().await
                }
                Ok(CaptureState::NoSnapshot(state)) => {
                    let left = *left_at.get_or_insert_with(Instant::now);
                    if left.elapsed() >= limits.grace && !state.is_pending() {
                        return Err(CaptureError::SilentFailure { state, grace: limits.grace });
                    }
                    last = state;
                    poll.pause().await
                }
                Err(CaptureError::Call(error)) => poll.pass_over(error).await.map_err(CaptureError::Call)?,
                Err(error) => return Err(error),
            };
            if let Err(Elapsed) = passed {
                return Err(CaptureError::TimedOut { total: limits.total, last });
            }
        }
    }

    async fn check_capture(
        &self,
        sandbox: &SandboxId,
        name: &str,
        began: DateTime<Utc>,
        limits: CaptureLimits,
        poll: &mut Poll,
    ) -> Result<CaptureState, CaptureError> {
        let found = self.look_up_sandbox(sandbox.as_str(), poll.watch()).await.map_err(CaptureError::Call)?;
        match &found {
            Some(found) if found.state == SandboxState::Snapshotting => return Ok(CaptureState::Capturing),
            Some(found) if found.state.is_failed() => {
                let (state, reason) = (found.state.clone(), found.error_reason.clone());
                return Err(CaptureError::SandboxFailed { state, reason });
            }
            Some(_) | None => {}
        }
        let snapshot = self.look_up_snapshot(name, poll.watch()).await.map_err(CaptureError::Call)?;
        let Some(snapshot) = snapshot else {
            return match found {
                Some(found) if !found.state.is_going() => Ok(CaptureState::NoSnapshot(found.state)),
                Some(_) | None => Err(CaptureError::SandboxGone),
            };
        };
        match judge(&snapshot, sandbox, name, began, limits.clock_skew) {
            Verdict::Ready => Ok(CaptureState::Ready(Box::new(snapshot))),
            Verdict::Foreign => Err(CaptureError::NameTaken),
            Verdict::Failed => {
                Err(CaptureError::SnapshotFailed { state: snapshot.state, reason: snapshot.error_reason })
            }
            Verdict::Wait => {
                Ok(CaptureState::SnapshotPending(found.map_or(SandboxState::Destroyed, |found| found.state)))
            }
        }
    }
}

/// Whether a snapshot found under the name is the one this capture made.
fn judge(
    snapshot: &Snapshot,
    sandbox: &SandboxId,
    name: &str,
    began: DateTime<Utc>,
    skew: Duration,
) -> Verdict {
    let from_another = snapshot.source_sandbox_id.as_ref().is_some_and(|source| source != sandbox);
    let made_before = snapshot.created_at.is_none_or(|created| created + skew < began);
    if from_another || made_before || snapshot.general || snapshot.name != name {
        return Verdict::Foreign;
    }
    match snapshot.state {
        SnapshotState::Active => Verdict::Ready,
        SnapshotState::Building
        | SnapshotState::Pending
        | SnapshotState::Pulling
        | SnapshotState::Snapshotting
        | SnapshotState::Other(_) => Verdict::Wait,
        SnapshotState::Inactive
        | SnapshotState::Error
        | SnapshotState::BuildFailed
        | SnapshotState::Removing => Verdict::Failed,
    }
}

#[cfg(test)]
mod tests;
