//! The real programs, run as a user runs them: as processes, configured by files, arguments and environment.
//!
//! Output goes to files, whole, so that a failing test prints it and the search for secrets misses nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::eventually::within;
use crate::guard::{self, GuardedChild};
use crate::programs::Program;
use crate::started;

/// How much of each output a panicking test prints.
const PRINTED_BYTES: usize = 16 * 1024;

/// Variables of the product, and the token that a job asks for when its settings name none: what the developer has set must
/// not steer a test, and a token that no rule gives to the samples would be refused to each of them.
const OWN_PREFIXES: [&str; 4] = ["HARVEST_", "OTEL_", "DAYTONA_", "GITHUB_TOKEN"];

/// One running program. Dropping it kills it; a panicking test prints its output first.
#[derive(Debug)]
pub struct FleetProcess {
    name: String,
    child: GuardedChild,
    // After the child: removed once nobody writes to it.
    directory: TempDir,
}

impl FleetProcess {
    /// Starts `program` in a fresh working directory (so no developer's `.env` is read) with this environment on top of
    /// the test's own, from which the product's variables are taken out.
    pub fn spawn<'variables>(
        program: Program,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (&'variables str, OsString)>,
    ) -> anyhow::Result<Self> {
        started::count(program.in_counts());
        Self::spawn_binary(&program.path()?, arguments, environment)
    }

    /// [`Self::spawn`] for a program that is not ours, a scraper or a language's SDK, say.
    pub fn spawn_binary<'variables>(
        binary: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (&'variables str, OsString)>,
    ) -> anyhow::Result<Self> {
        let name = binary.file_name().context("a program has a name")?.to_string_lossy().into_owned();
        let directory = guard::temporary_directory(&name)?;
        std::fs::create_dir(directory.path().join("work"))?;
        let mut command = guard::command(binary);
        for (variable, _value) in std::env::vars_os() {
            if OWN_PREFIXES.iter().any(|prefix| variable.as_encoded_bytes().starts_with(prefix.as_bytes())) {
                command.env_remove(variable);
            }
        }
        command
            .args(arguments)
            .envs(environment)
            .current_dir(directory.path().join("work"))
            .stdout(File::create(directory.path().join("stdout"))?)
            .stderr(File::create(directory.path().join("stderr"))?);
        let child = GuardedChild::spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child, directory })
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Where the process runs (`work`) and its output is kept (`stdout`, `stderr`).
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    /// Sends a signal; to a process that has ended this is no error.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.child.signal(signal)?)
    }

    /// `SIGKILL`, and waits for the end.
    pub fn kill9(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.kill()?)
    }

    /// `SIGTERM`, and waits for the end.
    pub async fn terminate(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(deadline).await
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.child.ended(deadline).await.with_context(|| format!("{}\n{}", self.name, self.tails()))
    }

    /// Waits until `text` is in the output, and answers the first line that holds it. Ends early if the process does.
    pub async fn says(&mut self, text: &str, deadline: Duration) -> anyhow::Result<String> {
        let what = format!("{} says {text:?}", self.name);
        let found = within(deadline, &what, async || {
            // Asked first: what an ended process has said is all there.
            let status = self.child.exit_status().map_err(|error| error.to_string())?;
            let output = self.stdout() + &self.stderr();
            match (output.lines().find(|line| line.contains(text)), status) {
                (Some(line), _) => Ok(Some(line.to_owned())),
                (None, Some(_ended)) => Ok(None),
                (None, None) => Err(String::from("not said yet")),
            }
        });
        let found = found.await.with_context(|| self.tails())?;
        found.with_context(|| format!("{what}: it ended without\n{}", self.tails()))
    }

    fn output(&self, name: &str) -> String {
        let bytes = std::fs::read(self.directory.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn tails(&self) -> String {
        let tail = |name: &str| {
            let output = self.output(name);
            let start = output.ceil_char_boundary(output.len().saturating_sub(PRINTED_BYTES));
            format!("--- {} {name}\n{}\n", self.name, &output[start..])
        };
        tail("stdout") + &tail("stderr")
    }
}

impl Drop for FleetProcess {
    #[expect(clippy::print_stderr, reason = "the output of a failing test is where people look for it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tails());
        }
    }
}
