//! What the toolbox of a sandbox answered, or did not: commands, files.

use std::time::Duration;

use daytona::{Error, ErrorKind, ExecuteError};
use job::{Failure, FailureKind, Scope, Stage};

use super::daytona::{meaning as meaning_for_the_api, requested_wait};

/// The failure behind a command of which no result is known.
pub(crate) fn from_execute(error: &ExecuteError, stage: Stage) -> Failure {
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
        | ExecuteError::Call(error) => from_toolbox(error, stage),
    }
}

/// The failure behind a call that was refused or not answered.
pub(crate) fn from_toolbox(error: &Error, stage: Stage) -> Failure {
    failure(error.kind(), &error.to_string(), requested_wait(error), stage)
}

pub(super) fn failure(kind: ErrorKind, text: &str, retry_after: Option<Duration>, stage: Stage) -> Failure {
    let (id, scope) = meaning(kind);
    Failure::new(id, text).at(stage).with_scope(scope).retry_after(retry_after)
}

/// The table: the API's, but for what a sandbox that is in use already cannot mean.
fn meaning(kind: ErrorKind) -> (FailureKind, Scope) {
    match kind {
        // It was provisioned and had started: what fails to start now is what was in it.
        ErrorKind::StartFailed => (FailureKind::SandboxLost, Scope::Target),
        // Only a create is told of names, sizes and bases. A daemon's text that reads like it quotes a path or a command, and
        // must not send anybody to look for a base or a foreign sandbox.
        ErrorKind::NameTaken
        | ErrorKind::SandboxTooLarge
        | ErrorKind::SnapshotNotFound
        | ErrorKind::SnapshotNotActive
        | ErrorKind::SnapshotNotInRegion
        | ErrorKind::RegionMissing => (FailureKind::DaytonaUndecodable, Scope::Target),
        ErrorKind::NotFound
        | ErrorKind::WrongState
        | ErrorKind::RateLimited
        | ErrorKind::Capacity
        | ErrorKind::SandboxQuota
        | ErrorKind::SnapshotQuota
        | ErrorKind::Suspended
        | ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::StateChanging
        | ErrorKind::Conflict
        | ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::CommandTimedOut
        | ErrorKind::InvalidRequest
        | ErrorKind::Unsupported
        | ErrorKind::Undecodable
        | ErrorKind::TooLarge => meaning_for_the_api(kind),
    }
}

/// Who may stand behind a call that went unanswered until nobody waited any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The sandbox: it answered, and this is what it said.
    Sandbox,
    /// The sandbox or the proxy before it: there was no answer, or the proxy's that there is none.
    Unknown,
    /// The proxy, or a sandbox that speaks like it: a refusal that Daytona's API contradicts.
    Proxy,
}

/// Who may stand behind a command of which no result is known.
pub(crate) fn speaker_of_execute(error: &ExecuteError) -> Speaker {
    match error {
        ExecuteError::NotRunning(error)
        | ExecuteError::Gone(error)
        | ExecuteError::Unknown(error)
        | ExecuteError::Call(error) => speaker_of(error),
        ExecuteError::TimedOut { .. } | ExecuteError::TooMuchOutput(_) => Speaker::Sandbox,
    }
}

/// Who may stand behind a call that was refused or not answered.
pub(crate) fn speaker_of(error: &Error) -> Speaker {
    if matches!(error, Error::Contradicted { .. }) {
        Speaker::Proxy
    } else if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) {
        Speaker::Unknown
    } else {
        Speaker::Sandbox
    }
}

/// Whether a poll that failed this way may succeed later.
pub(crate) fn may_pass(error: &ExecuteError) -> bool {
    match error {
        ExecuteError::Unknown(_) => true,
        ExecuteError::Call(error) => call_may_pass(error),
        ExecuteError::NotRunning(_)
        | ExecuteError::Gone(_)
        | ExecuteError::TimedOut { .. }
        | ExecuteError::TooMuchOutput(_) => false,
    }
}

/// Whether a call that failed this way may succeed later.
pub(crate) fn call_may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited)
}
