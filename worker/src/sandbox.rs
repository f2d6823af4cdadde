//! One attempt's view of the sandbox it builds in: short steps, long commands, files.
//!
//! Scripts are constants and everything a person or a repository can choose reaches them through the environment, so no
//! branch, path or URL is ever read as shell. Whatever comes back is scrubbed of the job's secrets before anyone sees it.

mod environment;
mod long;
mod quote;
mod redact;
mod watching;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use daytona::{Execute, Executed, Pauses, Toolbox, Upload, pace};
use job::{AttemptId, Failure, Stage};

use secrecy::SecretString;
use tokio::time::Instant;

use crate::failures::{
    Speaker, call_may_pass, from_execute, from_toolbox, may_pass, speaker_of, speaker_of_execute,
};

pub use environment::Environment;
pub(crate) use long::{ANY_ROOM, FinishedCommand};
pub use long::{CommandEnd, Exit, LongCommand};
pub use quote::quote;
pub use redact::Redactor;
pub use watching::{CommandSection, Watching};
pub use witness::SandboxWitness;

/// Where a step finds its programs: folders that only root can write to.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where shells would look for files to read before they come to a step; the repository may have written those of the home.
const START_FILES: [(&str, &str); 3] = [("ZDOTDIR", "/"), ("BASH_ENV", ""), ("ENV", "")];

/// The longest a short step may take.
pub const SHORT: Duration = Duration::from_secs(55);

/// The sandbox as one attempt sees it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    toolbox: Toolbox,
    witness: SandboxWitness,
    redactor: Arc<Redactor>,
    watching: Watching,
    attempt: AttemptId,
}

impl Sandbox {
    /// A view of the sandbox behind `toolbox`. Long commands are named after `attempt`: the same command of the same attempt
    /// is never started twice, but found again.
    pub fn new(
        toolbox: Toolbox,
        witness: SandboxWitness,
        redactor: Arc<Redactor>,
        watching: Watching,
        attempt: AttemptId,
    ) -> Self {
        Self { toolbox, witness, redactor, watching, attempt }
    }

    /// What an attempt fails with when the sandbox's own answers amount to `claim`: from install on only what Daytona's API
    /// says as well. Whoever makes a failure of what a sandbox answered, or did not, hands it through here.
    pub(crate) async fn believe(&self, claim: Failure) -> Failure {
        self.believe_of(claim, Speaker::Sandbox).await
    }

    /// The same where the proxy before the sandbox may be at fault.
    async fn believe_of(&self, claim: Failure, speaker: Speaker) -> Failure {
        let message = self.redactor.scrub(&claim.message);
        self.witness.examine(Failure { message, ..claim }, speaker).await
    }

    /// Knows the secrets that its output is scrubbed of.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn least_free_bytes(&self) -> u64 {
        self.watching.least_free_bytes
    }

    /// Runs a step of less than a minute with `bash`, in the home; it must bear being run twice. An exit code is no failure.
    ///
    /// The script is a constant: what varies is in the environment.
    pub async fn short(
        &self,
        stage: Stage,
        script: &'static str,
        environment: &Environment,
        timeout: Duration,
    ) -> Result<Executed, Failure> {
        let executed = self.execute_until_known(&step(script, environment, timeout), stage).await?;
        Ok(Executed { exit_code: executed.exit_code, result: self.redactor.scrub(&executed.result) })
    }

    /// Sends a step until it is known what became of it.
    async fn execute_until_known(&self, execute: &Execute, stage: Stage) -> Result<Executed, Failure> {
        let mut patience = Patience::of(&self.watching);
        loop {
            let error = match self.toolbox.execute(execute).await {
                Ok(executed) => return Ok(executed),
                Err(error) => error,
            };
            if !may_pass(&error) || patience.pause().await == Pause::TooLong {
                return Err(self.believe_of(from_execute(&error, stage), speaker_of_execute(&error)).await);
            }
        }
    }

    /// Writes a file, folders included.
    pub async fn upload(&self, stage: Stage, path: &str, content: Vec<u8>) -> Result<(), Failure> {
        let files = [Upload { path: path.to_owned(), content }];
        let mut patience = Patience::of(&self.watching);
        loop {
            let Err(error) = self.toolbox.upload(&files).await else { return Ok(()) };
            if !call_may_pass(&error) || patience.pause().await == Pause::TooLong {
                return Err(self.believe_of(from_toolbox(&error, stage), speaker_of(&error)).await);
            }
        }
    }

    /// Reads a file of at most `limit` bytes; none when there is none.
    pub async fn download(&self, stage: Stage, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut patience = Patience::of(&self.watching);
        loop {
            let error = match self.toolbox.download(path, limit).await {
                Ok(content) => return Ok(content),
                Err(error) => error,
            };
            if !call_may_pass(&error) || patience.pause().await == Pause::TooLong {
                return Err(self.believe_of(from_toolbox(&error, stage), speaker_of(&error)).await);
            }
        }
    }
}

/// How long a toolbox that does not answer, or whose proxy is in trouble, is asked again: as long as a long command is watched
/// without an answer. Whatever is asked must bear being asked twice.
struct Patience {
    pauses: Pauses,
    deadline: Instant,
}

/// Whether it makes sense to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    Over,
    TooLong,
}

impl Patience {
    fn of(watching: &Watching) -> Self {
        Self { pauses: pace::REPEAT.pauses(), deadline: Instant::now() + watching.lost_after }
    }

    async fn pause(&mut self) -> Pause {
        let pause = self.pauses.next_pause();
        if Instant::now() + pause >= self.deadline {
            return Pause::TooLong;
        }
        tokio::time::sleep(pause).await;
        Pause::Over
    }
}

/// The toolbox feeds a command to a shell's standard input, where a child that reads would swallow the rest of it.
///
/// Whatever runs is named by its path, reads no start file and finds its programs where only root can write. The image's own
/// PATH is handed on in `HARVEST_IMAGE_PATH`, for steps that are about it.
fn step(script: &'static str, environment: &Environment, timeout: Duration) -> Execute {
    let command = format!(
        "exec /usr/bin/env PATH={PATH} HARVEST_IMAGE_PATH=\"$PATH\" /bin/bash --noprofile --norc -c {} </dev/null",
        quote(script)
    );
    let start_files = START_FILES.map(|(name, value)| (name.to_owned(), SecretString::from(value)));
    let mut envs = environment.all();
    envs.extend(start_files);
    Execute { envs, ..Execute::new(command, timeout) }
}
