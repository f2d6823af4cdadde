//! What Daytona's API answered, or did not.

use std::time::Duration;

use daytona::{BaseError, CaptureError, DeleteError, Error, ErrorKind, RestartError, Retry, StartError};
use job::{Failure, FailureKind, Outcome, Scope, Stage};

use crate::early_end::EarlyEnd;

/// The end behind a call that was refused or not answered.
pub(crate) fn from_call(error: &Error, stage: Stage) -> EarlyEnd {
    end(error.kind(), &error_chain::line(error), requested_wait(error), stage)
}

/// The failure behind a read that was refused or not answered; only what makes something can meet a full organization.
pub(crate) fn from_read(error: &Error, stage: Stage) -> Failure {
    failure(error.kind(), &error_chain::line(error), requested_wait(error), stage)
}

/// No room for a snapshot is an outcome of its own, everything else a failure.
pub(super) fn end(kind: ErrorKind, text: &str, retry_after: Option<Duration>, stage: Stage) -> EarlyEnd {
    if kind == ErrorKind::SnapshotQuota {
        return Outcome::OverQuota.into();
    }
    failure(kind, text, retry_after, stage).into()
}

pub(super) fn failure(kind: ErrorKind, text: &str, retry_after: Option<Duration>, stage: Stage) -> Failure {
    let (id, scope) = meaning(kind);
    Failure::new(id, format!("{text}{}", advice(id))).at(stage).with_scope(scope).retry_after(retry_after)
}

/// How long Daytona asks to wait before the call is sent again.
pub(super) fn requested_wait(error: &Error) -> Option<Duration> {
    match error.retry() {
        Retry::After(after) => Some(after),
        Retry::Never | Retry::Backoff | Retry::ReadFirst => None,
    }
}

/// The table. A toolbox answers through the same proxy with the same words, so it differs only where its file says so.
pub(super) fn meaning(kind: ErrorKind) -> (FailureKind, Scope) {
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
        // One setting serves every target: its mistake must not empty the fleet into the dead-letter queue.
        ErrorKind::RegionMissing => (FailureKind::ProvisionRegionMissing, Scope::Daytona),
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

/// What to do about it, where a person can do something.
fn advice(id: FailureKind) -> &'static str {
    if id == FailureKind::DaytonaUnauthorized {
        "; check DAYTONA_API_KEY and its permissions with `harvestctl doctor`"
    } else if id == FailureKind::DaytonaSuspended {
        "; the organization must be unlocked in Daytona"
    } else if id == FailureKind::ProvisionBaseMissing {
        "; check `base_snapshot` in fleet.toml"
    } else {
        ""
    }
}

/// The end behind a sandbox that did not start.
pub(crate) fn from_start(error: &StartError, id: FailureKind, stage: Stage) -> EarlyEnd {
    match error {
        StartError::Call(error) => from_call(error, stage),
        StartError::Gone => Outcome::LeaseLost.into(),
        StartError::NoRunner => Failure::new(FailureKind::ProvisionNoCapacity, error_chain::line(error))
            .with_scope(Scope::Daytona)
            .at(stage)
            .into(),
        StartError::Failed { .. } | StartError::NotStarting { .. } | StartError::TimedOut { .. } => {
            Failure::new(id, error_chain::line(error)).at(stage).into()
        }
    }
}

/// The end behind a sandbox that did not come back. The repository's code had run in it, so it counts as an attempt.
pub(crate) fn from_restart(error: &RestartError, stage: Stage) -> EarlyEnd {
    match error {
        RestartError::Call(error) => from_call(error, stage),
        RestartError::Gone | RestartError::Failed { .. } | RestartError::TimedOut { .. } => {
            let text = format!(
                "the sandbox could not be restarted before its capture: {}",
                error_chain::line(error)
            );
            Failure::new(FailureKind::SandboxLost, text).at(stage).into()
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
        .with_scope(Scope::Daytona)
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

/// The end behind a base snapshot that was not found.
pub(crate) fn from_base(error: &BaseError) -> EarlyEnd {
    match error {
        BaseError::Call(error) => from_call(error, Stage::Resolve),
        BaseError::Missing { .. } | BaseError::NotActive { .. } => {
            let id = FailureKind::ProvisionBaseMissing;
            Failure::new(id, format!("{error}{}", advice(id)))
                .at(Stage::Resolve)
                // One base serves every target: its absence must not empty the fleet into the dead-letter queue.
                .with_scope(Scope::Daytona)
                .into()
        }
    }
}
