//! What is believed of a failure that only the sandbox itself speaks of.
//!
//! From install on everything in a sandbox is the repository's, its toolbox's answers too: a pipe in the place of a file reads as
//! an outage, a file nobody may read as a refused key. Such a failure is a claim until Daytona's API, which no repository
//! answers for, has said how the sandbox stands. Where the proxy before the toolbox may be at fault, the toolboxes of the fleet's other
//! sandboxes tell: a repository can keep its own from answering, and no other.

use daytona::SandboxState;
use job::{Blame, Failure, FailureKind, Scope, Stage};

use super::loss::Others;
use super::toolbox::Speaker;

/// How the sandbox stands, by Daytona's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiAnswer {
    /// It is in this state.
    State(SandboxState, Option<String>),
    /// There is no such sandbox any more.
    Gone,
    /// The API did not answer either, or refused to.
    Failed(Failure),
}

/// Whether nothing but the word of the repository's code may stand behind this failure.
pub(crate) fn is_claim(failure: &Failure) -> bool {
    // Counted, few, and this target's alone: worth no more than exiting with an error is.
    let worth_nothing = failure.blame() == Blame::Resources && failure.scope == Scope::Target;
    failure.stage >= Stage::Install && !worth_nothing
}

/// The failure that an attempt ends with, given what the API says of the sandbox behind `claim`.
pub(crate) fn believe(claim: &Failure, answer: ApiAnswer) -> Failure {
    let lost = |how: &str| {
        let text = format!(
            "the sandbox {how}, as Daytona's API says; the last that was heard of it: {}",
            claim.message
        );
        Failure::new(FailureKind::SandboxLost, text).at(claim.stage)
    };
    match answer {
        ApiAnswer::Failed(failure) => failure.at(claim.stage),
        ApiAnswer::Gone => lost("is gone"),
        ApiAnswer::State(state, _) if is_there(&state) => {
            let text = format!(
                "the sandbox is {state}, as Daytona's API says, and cannot be worked with: {}; what install or build left in it stands in the way, or used up its memory, disk or processes",
                claim.message
            );
            Failure::new(FailureKind::SandboxUnusable, text).at(claim.stage)
        }
        ApiAnswer::State(state, None) => lost(&format!("is {state}")),
        ApiAnswer::State(state, Some(reason)) => lost(&format!("is {state} ({reason})")),
    }
}

/// Whether the proxy is in trouble and not this one sandbox, given how the toolboxes of the fleet's `others` fare.
pub(crate) fn is_proxys_trouble(speaker: Speaker, others: Others) -> bool {
    match (speaker, others) {
        (Speaker::Sandbox, _) | (_, Others::Alive) | (Speaker::Unknown, Others::Absent) => false,
        (Speaker::Unknown | Speaker::Proxy, Others::Failing) | (Speaker::Proxy, Others::Absent) => true,
    }
}

/// The failure of an attempt whose sandbox can't be reached for the proxy's sake. Nobody's attempt is used up.
pub(crate) fn proxys_trouble(claim: &Failure) -> Failure {
    let text = format!(
        "the sandbox is there, as Daytona's API says, and the proxy before the toolboxes lets nobody through to it: {}",
        claim.message
    );
    Failure::new(FailureKind::DaytonaUnavailable, job::truncate(&text, Failure::MAX_MESSAGE))
        .at(claim.stage)
        .with_scope(Scope::Daytona)
}

/// Whether commands can be run in it, or could a moment ago and will be again.
pub(crate) fn is_there(state: &SandboxState) -> bool {
    match state {
        SandboxState::Started
        | SandboxState::Snapshotting
        | SandboxState::Forking
        | SandboxState::Resizing => true,
        SandboxState::Creating
        | SandboxState::Restoring
        | SandboxState::Starting
        | SandboxState::Stopped
        | SandboxState::Stopping
        | SandboxState::Destroying
        | SandboxState::Destroyed
        | SandboxState::Error
        | SandboxState::BuildFailed
        | SandboxState::PendingBuild
        | SandboxState::BuildingSnapshot
        | SandboxState::PullingSnapshot
        | SandboxState::Archiving
        | SandboxState::Archived
        | SandboxState::Pausing
        | SandboxState::Paused
        | SandboxState::Resuming
        | SandboxState::Unknown
        | SandboxState::Other(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_stays_bad_is_not_the_repositorys_doing() {
        let all = [Others::Alive, Others::Failing, Others::Absent];
        let judged = |speaker| all.map(|others| is_proxys_trouble(speaker, others));
        assert_eq!(judged(Speaker::Sandbox), [false; 3]);
        assert_eq!(judged(Speaker::Unknown), [false, true, false], "its own machine may be full");
        assert_eq!(judged(Speaker::Proxy), [false, true, true]);
        let claim = Failure::new(FailureKind::DaytonaUnavailable, "HTTP 401").at(Stage::Build);
        let failure = proxys_trouble(&claim);
        assert_eq!((failure.blame(), &failure.scope), (Blame::Upstream, &Scope::Daytona));
        assert!(failure.stage == Stage::Build && failure.message.contains("HTTP 401"), "{failure:?}");
    }
}
