//! How a long command ended, and what every stage makes of that alike: no time, no memory and no room are failures
//! whatever the command was about.

use std::time::Duration;

use job::{Failure, FailureKind, Tail};

use super::LongCommand;

/// For a command that may leave the disk as full as it likes.
pub(crate) const ANY_ROOM: u64 = 0;

/// A command that has ended, for whatever reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// Whether it ended by itself, and with which code.
    pub exit: Exit,
    /// The end of its output, scrubbed.
    pub tail: Tail,
    /// How long it ran, by the clock of the sandbox.
    pub duration: Duration,
    /// Bytes it wrote to its output, kept or not.
    pub output_bytes: u64,
    /// Bytes left on the disk of the checkout, when known.
    pub free_bytes: Option<u64>,
}

/// What ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself, with this code.
    Code(i32),
    /// It was ended at its deadline.
    DeadlinePassed,
    /// The kernel ended one of its processes for want of memory, with this code.
    OutOfMemory(i32),
}

/// A command that ended by itself, in time and with room left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FinishedCommand {
    pub(crate) code: i32,
    /// The end of its output, scrubbed.
    pub(crate) tail: Tail,
}

impl CommandEnd {
    /// The command with its code, or the failure that ends the stage whatever the command was about: it had too little time
    /// or memory, or left less than `least_free_bytes` on the disk.
    pub(crate) fn into_finished(
        self,
        command: &LongCommand,
        least_free_bytes: u64,
    ) -> Result<FinishedCommand, Failure> {
        let stage = command.stage;
        let (id, code, text) = match (self.exit, self.free_bytes.filter(|free| *free < least_free_bytes)) {
            (Exit::DeadlinePassed, _) => {
                let text = format!(
                    "{stage} took longer than its {} s; raise timeouts.{stage} in fleet.toml",
                    command.deadline.as_secs()
                );
                (FailureKind::StageDeadline, None, text)
            }
            (Exit::OutOfMemory(code), _) => {
                let text =
                    "a process was ended for want of memory; give the target a larger class".to_owned();
                (FailureKind::OutOfMemory, Some(code), text)
            }
            (Exit::Code(code), Some(free)) => {
                let text =
                    format!("the disk is full ({} MiB left); give the target a larger class", free >> 20);
                (FailureKind::NoSpace, Some(code), text)
            }
            (Exit::Code(code), None) => return Ok(FinishedCommand { code, tail: self.tail }),
        };
        Err(Failure::new(id, text).at(stage).with_output(code, self.tail))
    }
}

#[cfg(test)]
mod tests {
    use job::Stage;

    use super::*;
    use crate::sandbox::Environment;

    #[test]
    fn no_time_no_memory_and_no_room_are_failures_of_any_command() {
        let command = LongCommand {
            stage: Stage::Install,
            label: "frozen",
            script: String::new(),
            cwd: String::new(),
            environment: Environment::new(),
            deadline: Duration::from_secs(90),
        };
        let finish = |exit, free_bytes, least_free_bytes| {
            let end = CommandEnd {
                exit,
                tail: Tail::of("its last words"),
                duration: Duration::from_secs(1),
                output_bytes: 14,
                free_bytes,
            };
            match end.into_finished(&command, least_free_bytes) {
                Ok(finished) => Ok(finished.code),
                Err(failure) => {
                    assert_eq!(
                        (failure.stage, failure.log_tail.as_str()),
                        (Stage::Install, "its last words")
                    );
                    Err((failure.id, failure.exit_code, failure.message))
                }
            }
        };
        let late = "install took longer than its 90 s; raise timeouts.install in fleet.toml".to_owned();
        let no_memory = "a process was ended for want of memory; give the target a larger class".to_owned();
        let full = "the disk is full (1 MiB left); give the target a larger class".to_owned();
        let mebibyte = Some(1 << 20);
        assert_eq!(finish(Exit::Code(7), mebibyte, ANY_ROOM), Ok(7));
        assert_eq!(finish(Exit::Code(0), mebibyte, 1 << 20), Ok(0));
        assert_eq!(finish(Exit::Code(0), None, 2 << 20), Ok(0));
        assert_eq!(finish(Exit::Code(0), mebibyte, 2 << 20), Err((FailureKind::NoSpace, Some(0), full)));
        assert_eq!(
            finish(Exit::OutOfMemory(137), mebibyte, 2 << 20),
            Err((FailureKind::OutOfMemory, Some(137), no_memory))
        );
        assert_eq!(
            finish(Exit::DeadlinePassed, mebibyte, 2 << 20),
            Err((FailureKind::StageDeadline, None, late))
        );
    }
}
