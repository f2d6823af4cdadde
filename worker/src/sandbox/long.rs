//! Long commands: started detached, then polled by short calls until they end.
//!
//! The command's id follows from the attempt and the command itself, and starting it is guarded by a folder of that name: so a
//! lost answer, or a worker that takes over, finds the same run again and never starts a second. Whoever stops polling stops nothing.

mod command_end;
mod run_status;

use std::time::Duration;

use job::{Failure, Stage, Tail};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

pub(crate) use self::command_end::{ANY_ROOM, FinishedCommand};
pub use self::command_end::{CommandEnd, Exit};
use self::run_status::{RunStatus, State};
use super::{Environment, Sandbox};
use crate::failures::{BrokenRun, Speaker, from_broken_run, from_execute, may_pass, speaker_of_execute};

/// Where every run has its folder; outside the checkout, removed by scrub.
pub(crate) const RUNS: &str = "/tmp/harvest-run";

const SUPERVISOR: &str = include_str!("long/supervisor.sh");
const START: &str = include_str!("long/start.sh");
const POLL: &str = include_str!("long/poll.sh");
const END: &str = include_str!("long/end.sh");

/// How long a poll or an order may take.
const MOMENTS: Duration = Duration::from_secs(30);
/// From the signal that asks to the signal that kills; the supervisor's `timeout -k` says the same.
const GRACE: Duration = Duration::from_secs(10);
/// What the inner deadline may be late before the outer one ends the command.
const LATE: Duration = Duration::from_secs(20);

/// A command that may take long, and everything it is run with.
#[derive(Debug, Clone)]
pub struct LongCommand {
    /// The stage that asks, which its failures name.
    pub stage: Stage,
    /// Which of the stage's commands; a word for the folder's name.
    pub label: &'static str,
    /// What it does, given to `bash -c`.
    pub script: String,
    /// The folder it runs in.
    pub cwd: String,
    /// What it finds in its environment; secrets are in no argument and no file.
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
        let claim = from_broken_run(BrokenRun::NotStarted { output: executed.result.trim() }, command.stage);
        Err(self.believe(claim).await)
    }

    /// One span for the whole wait, with the number of polls.
    async fn watch(&self, command: &LongCommand, folder: &str) -> Result<CommandEnd, Failure> {
        let span = tracing::info_span!(
            "wait command",
            otel.name = format!("wait {}", command.label),
            poll.count = Empty
        );
        let mut polls = 0;
        let watched = self.watch_counting(command, folder, &mut polls).instrument(span.clone()).await;
        span.record("poll.count", polls);
        watched
    }

    async fn watch_counting(
        &self,
        command: &LongCommand,
        folder: &str,
        polls: &mut u64,
    ) -> Result<CommandEnd, Failure> {
        let began = Instant::now();
        let mut interval = self.watching.first;
        let mut last_answer = Instant::now();
        let mut last_tail = Tail::default();
        let mut ordered = false;
        loop {
            tokio::time::sleep(interval).await;
            interval = self.watching.next(interval);
            *polls += 1;
            let unexported = tracing::info_span!("poll");
            let kept = telemetry::keep_unexported(&unexported);
            tracing::trace!(?kept, "looks are counted, not traced");
            let status = match self.poll(command, folder).instrument(unexported).await {
                Ok(status) => status,
                Err(error) if error.passing && last_answer.elapsed() < self.watching.lost_after => continue,
                Err(error) => {
                    let failure = self.believe_of(error.claim, error.speaker).await;
                    return Err(failure.with_output(None, last_tail));
                }
            };
            match status.state {
                State::Ended { code } => return Ok(command_end(code, status, command.deadline)),
                // The supervisor needs a moment to say that it is there.
                State::Starting if last_answer.elapsed() < self.watching.lost_after => continue,
                State::Starting | State::Vanished => {
                    let vanished = BrokenRun::Vanished { killed_for_memory: status.killed_for_memory };
                    let claim = from_broken_run(vanished, command.stage);
                    return Err(self.believe(claim).await.with_output(None, status.tail));
                }
                State::Running => {}
            }
            last_answer = Instant::now();
            // By both clocks: the sandbox's is the command's to set, and this one may have come to a run that others began.
            let latest = command.deadline.saturating_add(GRACE + LATE);
            if status.elapsed.max(began.elapsed()) > latest {
                if ordered {
                    let failure = from_broken_run(BrokenRun::WillNotEnd, command.stage);
                    return Err(failure.with_output(None, status.tail));
                }
                ordered = true;
                self.end(command.stage, folder).await?;
            }
            last_tail = status.tail;
        }
    }

    async fn poll(&self, command: &LongCommand, folder: &str) -> Result<RunStatus, PollError> {
        let environment =
            Environment::new().with("HARVEST_FOLDER", folder).with("HARVEST_CWD", command.cwd.clone());
        let executed =
            self.toolbox.execute(&super::step(POLL, &environment, MOMENTS)).await.map_err(|error| {
                let speaker = speaker_of_execute(&error);
                PollError { passing: may_pass(&error), speaker, claim: from_execute(&error, command.stage) }
            })?;
        run_status::parse(&executed.result, &self.redactor).ok_or_else(|| PollError {
            passing: false,
            speaker: Speaker::Sandbox,
            claim: from_broken_run(BrokenRun::Garbled, command.stage),
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

struct PollError {
    passing: bool,
    speaker: Speaker,
    /// What it amounts to, if the sandbox can be believed.
    claim: Failure,
}

fn command_end(code: i32, status: RunStatus, deadline: Duration) -> CommandEnd {
    // `timeout` says 124, or 137 where only the second signal helped; a command may say so too, but not so late.
    let late = status.elapsed.saturating_add(Duration::from_secs(1)) >= deadline;
    let exit = match code {
        124 | 137 if late => Exit::DeadlinePassed,
        0 => Exit::Code(0),
        137 => Exit::OutOfMemory(137),
        code if status.killed_for_memory => Exit::OutOfMemory(code),
        code => Exit::Code(code),
    };
    CommandEnd {
        exit,
        tail: status.tail,
        duration: status.elapsed,
        output_bytes: status.output_bytes,
        free_bytes: status.free_bytes,
    }
}
