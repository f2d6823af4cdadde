//! Long commands: started detached, then watched by short looks until they end.
//!
//! The command's id follows from the attempt and the command itself, and starting it is guarded by a folder of that name: so a
//! lost answer, or a worker that takes over, finds the same run again and never starts a second. Whoever stops looking stops nothing.

mod command_end;
mod look;

use std::time::Duration;

use job::{Failure, FailureKind, Stage, Tail};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

pub(crate) use self::command_end::{ANY_ROOM, FinishedCommand};
pub use self::command_end::{CommandEnd, Exit};
use self::look::{Look, State};
use super::{Environment, Sandbox};
use crate::failures::{from_execute, may_pass};

/// Where every run has its folder; outside the checkout, removed by scrub.
pub(crate) const RUNS: &str = "/tmp/harvest-run";

const SUPERVISOR: &str = include_str!("long/supervisor.sh");
const START: &str = include_str!("long/start.sh");
const LOOK: &str = include_str!("long/look.sh");
const END: &str = include_str!("long/end.sh");

/// A look or an order takes moments.
const MOMENTS: Duration = Duration::from_secs(30);
/// From the signal that asks to the signal that kills; the supervisor's `timeout -k` says the same.
const GRACE: Duration = Duration::from_secs(10);
/// What the inner deadline may be late before the outer one ends the command.
const LATE: Duration = Duration::from_secs(20);

/// A command that may take long.
#[derive(Debug, Clone)]
pub struct LongCommand {
    /// Who asks.
    pub stage: Stage,
    /// Which of the stage's commands; a word for the folder's name.
    pub label: &'static str,
    /// Run with `bash -c`.
    pub script: String,
    /// Where.
    pub cwd: String,
    /// Its environment.
    pub environment: Environment,
    /// After this long it is ended with everything it started.
    pub deadline: Duration,
}

impl LongCommand {
    /// The same for the same command, whoever asks; secrets have no part in it.
    fn id(&self, attempt: &str) -> String {
        let mut hash = Sha256::new();
        for text in [&self.script, &self.cwd] {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        for (name, value) in self.environment.plain() {
            hash.update(format!("{}:{name}={}:{value}", name.len(), value.len()));
        }
        hash.update(self.deadline.as_secs().to_le_bytes());
        format!("{attempt}-{}-{}-{}", self.stage, self.label, &hex::encode(hash.finalize())[..10])
    }
}

impl Sandbox {
    /// Runs a command to its end. When this is dropped the command goes on; asked again, it is found again.
    pub async fn run(&self, command: &LongCommand) -> Result<CommandEnd, Failure> {
        let folder = format!("{RUNS}/{}", command.id(&self.attempt.to_string()));
        self.start(command, &folder).await?;
        self.watch(command, &folder).await
    }

    async fn start(&self, command: &LongCommand, folder: &str) -> Result<(), Failure> {
        let environment = command
            .environment
            .clone()
            .with("HARVEST_SUPERVISOR", SUPERVISOR)
            .with("HARVEST_SCRIPT", command.script.clone())
            .with("HARVEST_FOLDER", folder)
            .with("HARVEST_CWD", command.cwd.clone())
            .with("HARVEST_DEADLINE", command.deadline.as_secs().max(1).to_string())
            .with("HARVEST_OUTPUT_BYTES", self.watching.output_bytes.to_string());
        let executed = self.short(command.stage, START, &environment, MOMENTS).await?;
        if executed.exit_code == 0 {
            return Ok(());
        }
        let said = executed.result.trim();
        Err(Failure::new(
            FailureKind::Internal,
            format!("a command could not be started in the sandbox: {said}"),
        )
        .at(command.stage))
    }

    /// One span for the whole wait, with the number of looks.
    async fn watch(&self, command: &LongCommand, folder: &str) -> Result<CommandEnd, Failure> {
        let span = tracing::info_span!(
            "wait command",
            otel.name = format!("wait {}", command.label),
            poll.count = Empty
        );
        let mut looks = 0;
        let watched = self.watch_counting(command, folder, &mut looks).instrument(span.clone()).await;
        span.record("poll.count", looks);
        watched
    }

    async fn watch_counting(
        &self,
        command: &LongCommand,
        folder: &str,
        looks: &mut u64,
    ) -> Result<CommandEnd, Failure> {
        let mut interval = self.watching.first;
        let mut last_answer = Instant::now();
        let mut last_tail = Tail::default();
        let mut ordered = false;
        loop {
            tokio::time::sleep(interval).await;
            interval = self.watching.next(interval);
            *looks += 1;
            let unexported = tracing::info_span!("look");
            let kept = telemetry::keep_unexported(&unexported);
            tracing::trace!(?kept, "looks are counted, not traced");
            let look = match self.look(command, folder).instrument(unexported).await {
                Ok(look) => look,
                Err(error) if error.passing && last_answer.elapsed() < self.watching.lost_after => continue,
                Err(error) => return Err(error.failure.with_output(None, last_tail)),
            };
            match look.state {
                State::Ended { code } => return Ok(ended(code, look, command.deadline)),
                // The supervisor needs a moment to say that it is there.
                State::Starting if last_answer.elapsed() < self.watching.lost_after => continue,
                State::Starting | State::Vanished => return Err(vanished(look, command.stage)),
                State::Running => {}
            }
            last_answer = Instant::now();
            if look.elapsed > command.deadline + GRACE + LATE {
                if ordered {
                    let text = "a command did not end although it was told to";
                    return Err(Failure::new(FailureKind::StageDeadline, text)
                        .at(command.stage)
                        .with_output(None, look.tail));
                }
                ordered = true;
                self.end(command.stage, folder).await?;
            }
            last_tail = look.tail;
        }
    }

    async fn look(&self, command: &LongCommand, folder: &str) -> Result<Look, LookError> {
        let environment =
            Environment::new().with("HARVEST_FOLDER", folder).with("HARVEST_CWD", command.cwd.clone());
        let executed =
            self.toolbox.execute(&super::constant(LOOK, &environment, MOMENTS)).await.map_err(|error| {
                LookError { passing: may_pass(&error), failure: from_execute(&error, command.stage) }
            })?;
        look::read(&executed.result, &self.redactor).ok_or_else(|| LookError {
            passing: false,
            failure: Failure::new(FailureKind::Internal, "a look at a command could not be read")
                .at(command.stage),
        })
    }

    /// Ends every long command in this sandbox, with everything it started.
    pub async fn end_all(&self, stage: Stage) -> Result<(), Failure> {
        self.end(stage, "").await
    }

    async fn end(&self, stage: Stage, folder: &str) -> Result<(), Failure> {
        let environment = Environment::new().with("HARVEST_RUNS", RUNS).with("HARVEST_FOLDER", folder);
        self.short(stage, END, &environment, MOMENTS).await.map(drop)
    }
}

struct LookError {
    passing: bool,
    failure: Failure,
}

fn ended(code: i32, look: Look, deadline: Duration) -> CommandEnd {
    // `timeout` says 124, or 137 where only the second signal helped; a command may say so too, but not so late.
    let late = look.elapsed + Duration::from_secs(1) >= deadline;
    let exit = match code {
        124 | 137 if late => Exit::DeadlinePassed,
        0 => Exit::Code(0),
        137 => Exit::OutOfMemory(137),
        code if look.killed_for_memory => Exit::OutOfMemory(code),
        code => Exit::Code(code),
    };
    CommandEnd {
        exit,
        tail: look.tail,
        duration: look.elapsed,
        output_bytes: look.output_bytes,
        free_bytes: look.free_bytes,
    }
}

fn vanished(look: Look, stage: Stage) -> Failure {
    let failure = if look.killed_for_memory {
        Failure::new(
            FailureKind::OutOfMemory,
            "the sandbox ran out of memory; give the target a larger class",
        )
    } else {
        Failure::new(
            FailureKind::SandboxLost,
            "a command disappeared without an exit code: the sandbox was restarted or ran out of memory",
        )
    };
    failure.at(stage).with_output(None, look.tail)
}
