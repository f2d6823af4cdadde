//! What it means that a run is not as its supervisor leaves it.
//!
//! Whatever runs in a sandbox shares its user with the supervisor, whose folder and process it can take away. So this is a claim
//! of the sandbox's, like any other that it makes from install on.

use job::{Failure, FailureKind, Stage};

/// What is wrong with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenRun<'a> {
    /// Its folder could not be made.
    NotStarted { output: &'a str },
    /// Its supervisor is gone and left no exit code.
    Vanished { killed_for_memory: bool },
    /// Its folder holds what no supervisor writes.
    Garbled,
    /// It went on after it was told to end.
    WillNotEnd,
}

/// The failure behind a run that is not as its supervisor leaves it.
pub(crate) fn from_broken_run(run: BrokenRun<'_>, stage: Stage) -> Failure {
    let failure = match run {
        BrokenRun::NotStarted { output } => Failure::new(
            FailureKind::SandboxLost,
            format!(
                "a command could not be started in the sandbox, which an earlier one may have changed: {output}"
            ),
        ),
        BrokenRun::Vanished { killed_for_memory: true } => Failure::new(
            FailureKind::OutOfMemory,
            "the sandbox ran out of memory; give the target a larger class",
        ),
        BrokenRun::Vanished { killed_for_memory: false } => Failure::new(
            FailureKind::SandboxLost,
            "a command disappeared without an exit code: it ended what watched it, or the sandbox was restarted",
        ),
        BrokenRun::Garbled => Failure::new(
            FailureKind::SandboxLost,
            "a look at a command could not be read: it wrote to what belongs to its supervisor",
        ),
        BrokenRun::WillNotEnd => {
            Failure::new(FailureKind::StageDeadline, "a command did not end although it was told to")
        }
    };
    failure.at(stage)
}
