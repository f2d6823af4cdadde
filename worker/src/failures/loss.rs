//! Whose fault it is that a sandbox was lost once the repository's code had run in it.
//!
//! Machines die, so one loss is the platform's. A build that halts its machine, or eats it up, loses one each time: what
//! tells the two apart is how the fleet's other sandboxes fare meanwhile.

use job::{Failure, FailureKind, LostSandbox, Scope};

/// How the fleet's other sandboxes fare, by Daytona's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// At least one runs.
    Alive,
    /// There are some, and none runs; or Daytona does not even say.
    Failing,
    /// There is no other to compare with.
    Absent,
}

/// The failure behind a sandbox that was lost from install on; `before` is the last that was lost at this very commit and fingerprint.
pub(crate) fn from_loss(lost: Failure, before: Option<&LostSandbox>, others: Others) -> Failure {
    match (before, others) {
        // Nobody's attempt is used up: bounded by the job's age.
        (None, _) | (Some(_), Others::Failing) => lost.with_scope(Scope::Daytona),
        (Some(_), Others::Absent) => lost.with_scope(Scope::Target),
        (Some(before), Others::Alive) => {
            let text = format!(
                "the sandbox was lost again (before at {}) while others of the fleet run: install or build ends it, by halting it or by what it uses up; {}",
                before.at.format("%Y-%m-%dT%H:%M:%SZ"),
                lost.message
            );
            Failure {
                id: FailureKind::SandboxLostAgain,
                message: job::truncate(&text, Failure::MAX_MESSAGE),
                ..lost
            }
            .with_scope(Scope::Target)
        }
    }
}

#[cfg(test)]
mod tests {
    use job::{Blame, Fingerprint, Stage};

    use super::*;

    #[test]
    fn a_second_loss_while_others_live_is_the_repositorys() {
        let before = LostSandbox {
            commit: "a".repeat(40).parse().unwrap(),
            fingerprint: Fingerprint::from_hex(&"9".repeat(64)).unwrap(),
            at: "2026-11-23T10:00:00Z".parse().unwrap(),
        };
        let judged = |before: Option<&LostSandbox>, others| {
            let failure = from_loss(
                Failure::new(FailureKind::SandboxLost, "it is gone").at(Stage::Build),
                before,
                others,
            );
            assert!(failure.message.contains("it is gone") && failure.stage == Stage::Build, "{failure:?}");
            (failure.id, failure.blame(), failure.scope)
        };
        let free = (FailureKind::SandboxLost, Blame::Upstream, Scope::Daytona);
        for others in [Others::Alive, Others::Failing, Others::Absent] {
            assert_eq!(judged(None, others), free);
        }
        assert_eq!(judged(Some(&before), Others::Failing), free);
        assert_eq!(
            judged(Some(&before), Others::Absent),
            (FailureKind::SandboxLost, Blame::Upstream, Scope::Target)
        );
        let repositorys = (FailureKind::SandboxLostAgain, Blame::Repository, Scope::Target);
        assert_eq!(judged(Some(&before), Others::Alive), repositorys);
    }
}
