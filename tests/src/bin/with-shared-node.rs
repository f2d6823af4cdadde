//! Runs a command, and with it one RabbitMQ node for all test processes below it: `with-shared-node cargo nextest run`.
//!
//! nextest gives each test a process of its own, so what they share must belong to somebody who outlives them. The programs
//! under test are built here, too, once. Whatever ends this process ends the node and the command.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use fleet_tests::guard::{self, GuardedChild};
use fleet_tests::npm_registry::NpmRegistry;
use fleet_tests::rabbit::SharedNode;
use fleet_tests::{image_tools, programs};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// A run that takes longer hangs.
const RUN: Duration = Duration::from_hours(3);

/// Starts one RabbitMQ node for all tests of a run, builds the programs under test, then runs a command with both.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to run, with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { command } = Arguments::parse();
    // Asked for first: a run that is interrupted while its node starts ends like any other.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let folder = programs::built()?;
    image_tools::flags()?;
    let registry = NpmRegistry::start().await?;
    let node = SharedNode::start().await?;

    let mut run = guard::command(&command[0]);
    run.args(&command[1..]).stdin(Stdio::inherit());
    run.envs([node.announcement()?, programs::announcement(folder)]);
    if let Some(registry) = &registry {
        run.envs([registry.announcement()?]);
    }
    let mut run = GuardedChild::spawn(run).with_context(|| format!("{}", command[0].display()))?;
    loop {
        tokio::select! {
            ended = run.ended(RUN) => return Ok(code_of(ended?)),
            // The terminal has sent it to the command as well.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => run.signal(Signal::TERM)?,
        }
    }
}

/// The command's own exit code; 128 and the signal's number when it was killed, as shells have it.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
