//! What Daytona's answer means for an attempt.

use daytona::{CaptureError, DeleteError, Error, ErrorKind, Retry, StartError};
use job::{Failure, FailureKind, Outcome, Scope, Stage};

use crate::early_end::EarlyEnd;

/// The end behind a refused call. No room for a snapshot is an outcome of its own.
pub(crate) fn from_call(error: &Error, stage: Stage) -> EarlyEnd {
    if error.kind() == ErrorKind::SnapshotQuota {
        return Outcome::OverQuota.into();
    }
    let after = match error.retry() {
        Retry::After(after) => Some(after),
        Retry::Never | Retry::Backoff | Retry::ReadFirst => None,
    };
    let (id, scope) = meaning(error.kind());
    Failure::new(id, advice(id, &error_chain::line(error)))
        .at(stage)
        .touching(scope)
        .retry_after(after)
        .into()
}

fn meaning(kind: ErrorKind) -> (FailureKind, Scope) {
    match kind {
        ErrorKind::NotFound | ErrorKind::WrongState => (FailureKind::SandboxLost, Scope::Target),
        ErrorKind::NameTaken => (FailureKind::ProvisionNameTaken, Scope::Target),
        ErrorKind::RateLimited => (FailureKind::DaytonaRateLimited, Scope::Daytona),
        ErrorKind::Capacity | ErrorKind::SandboxQuota | ErrorKind::SnapshotQuota => {
            (FailureKind::ProvisionNoCapacity, Scope::Daytona)
        }
        ErrorKind::SandboxTooLarge
        | ErrorKind::SnapshotNotFound
        | ErrorKind::SnapshotNotActive
        | ErrorKind::SnapshotNotInRegion => (FailureKind::ProvisionBaseMissing, Scope::Target),
        ErrorKind::Suspended => (FailureKind::DaytonaSuspended, Scope::Daytona),
        ErrorKind::Unauthorized | ErrorKind::Forbidden => (FailureKind::DaytonaUnauthorized, Scope::Daytona),
        ErrorKind::StartFailed => (FailureKind::ProvisionFailed, Scope::Target),
        ErrorKind::StateChanging | ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Timeout => {
            (FailureKind::DaytonaUnavailable, Scope::Daytona)
        }
        ErrorKind::CommandTimedOut => (FailureKind::StageDeadline, Scope::Target),
        ErrorKind::InvalidRequest | ErrorKind::Unsupported | ErrorKind::Undecodable | ErrorKind::TooLarge => {
            (FailureKind::DaytonaUndecodable, Scope::Target)
        }
    }
}

/// The error with what to do about it, where something can be done.
fn advice(id: FailureKind, text: &str) -> String {
    let todo = if id == FailureKind::DaytonaUnauthorized {
        "; check DAYTONA_API_KEY and its permissions with `harvestctl doctor`"
    } else if id == FailureKind::DaytonaSuspended {
        "; the organization must be unlocked in Daytona"
    } else if id == FailureKind::ProvisionBaseMissing {
        "; check `base_snapshot` in fleet.toml"
    } else {
        ""
    };
    format!("{text}{todo}")
}

/// The end behind a sandbox that did not start.
pub(crate) fn from_start(error: &StartError, id: FailureKind, stage: Stage) -> EarlyEnd {
    match error {
        StartError::Call(error) => from_call(error, stage),
        StartError::Gone => Outcome::LeaseLost.into(),
        StartError::Failed { .. } | StartError::NotStarting { .. } | StartError::TimedOut { .. } => {
            Failure::new(id, error_chain::line(error)).at(stage).into()
        }
    }
}

/// The end behind a sandbox that would not go.
pub(crate) fn from_delete(error: &DeleteError, stage: Stage) -> EarlyEnd {
    match error {
        DeleteError::Call(error) => from_call(error, stage),
        DeleteError::TimedOut { .. } => Failure::new(
            FailureKind::DaytonaUnavailable,
            format!("a sandbox is {}", error_chain::line(error)),
        )
        .at(stage)
        .touching(Scope::Daytona)
        .into(),
    }
}

/// The end behind a capture without a snapshot.
pub(crate) fn from_capture(error: &CaptureError) -> EarlyEnd {
    let failed = |id| Failure::new(id, error_chain::line(error)).into();
    match error {
        CaptureError::Call(error) => from_call(error, Stage::Capture),
        CaptureError::SilentFailure { .. } => failed(FailureKind::CaptureSilent),
        CaptureError::TimedOut { .. } => failed(FailureKind::CaptureTimeout),
        CaptureError::NotBegun(_)
        | CaptureError::NameTaken
        | CaptureError::SnapshotFailed { .. }
        | CaptureError::SandboxFailed { .. } => failed(FailureKind::CaptureFailed),
        CaptureError::SandboxGone => Outcome::LeaseLost.into(),
    }
}
