//! What a refused toolbox call means for the attempt.

use daytona::{Error, ErrorKind, ExecuteError, Retry};
use job::{Failure, FailureKind, Scope, Stage};

/// Whether the next try of a call may fare better.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited)
}

/// The failure behind a command of which no result is known.
pub(super) fn of_execute(error: &ExecuteError, stage: Stage) -> Failure {
    match error {
        ExecuteError::TimedOut { timeout } => {
            let text = format!("a step of {stage} that takes moments took more than {} s", timeout.as_secs());
            Failure::new(FailureKind::StageDeadline, text).at(stage)
        }
        ExecuteError::TooMuchOutput(_) => {
            Failure::new(FailureKind::Internal, "a step wrote more than is read of one").at(stage)
        }
        ExecuteError::NotRunning(error)
        | ExecuteError::Gone(error)
        | ExecuteError::Unknown(error)
        | ExecuteError::Call(error) => of_call(error, stage),
    }
}

/// The failure behind a refused call.
pub(super) fn of_call(error: &Error, stage: Stage) -> Failure {
    let (id, scope) = meaning(error.kind());
    let after = match error.retry() {
        Retry::After(after) => Some(after),
        Retry::Never | Retry::Backoff | Retry::ReadFirst => None,
    };
    Failure::new(id, error.to_string()).at(stage).touching(scope).retry_after(after)
}

fn meaning(kind: ErrorKind) -> (FailureKind, Scope) {
    match kind {
        ErrorKind::NotFound | ErrorKind::WrongState | ErrorKind::StartFailed => {
            (FailureKind::SandboxLost, Scope::Target)
        }
        ErrorKind::RateLimited => (FailureKind::DaytonaRateLimited, Scope::Daytona),
        ErrorKind::Suspended => (FailureKind::DaytonaSuspended, Scope::Daytona),
        ErrorKind::Unauthorized | ErrorKind::Forbidden => (FailureKind::DaytonaUnauthorized, Scope::Daytona),
        ErrorKind::CommandTimedOut => (FailureKind::StageDeadline, Scope::Target),
        ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::Conflict
        | ErrorKind::StateChanging
        | ErrorKind::Capacity
        | ErrorKind::SandboxQuota
        | ErrorKind::SnapshotQuota => (FailureKind::DaytonaUnavailable, Scope::Daytona),
        ErrorKind::NameTaken
        | ErrorKind::SandboxTooLarge
        | ErrorKind::SnapshotNotFound
        | ErrorKind::SnapshotNotActive
        | ErrorKind::SnapshotNotInRegion
        | ErrorKind::InvalidRequest
        | ErrorKind::Unsupported
        | ErrorKind::Undecodable
        | ErrorKind::TooLarge => (FailureKind::DaytonaUndecodable, Scope::Target),
    }
}

/// Whether a look that failed this way may succeed later.
pub(super) fn may_pass(error: &ExecuteError) -> bool {
    match error {
        ExecuteError::Unknown(_) => true,
        ExecuteError::Call(error) => is_passing(error),
        ExecuteError::NotRunning(_)
        | ExecuteError::Gone(_)
        | ExecuteError::TimedOut { .. }
        | ExecuteError::TooMuchOutput(_) => false,
    }
}
