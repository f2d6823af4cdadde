//! The toolbox: what runs and lies inside one sandbox.
//!
//! A command's environment is the only place for its secrets (the command itself is logged by the daemon), and
//! a command always has a time limit, since Daytona has none and a client that hangs up stops nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::client::Client;
use crate::errors::{Error, ErrorKind};
use crate::ids::SandboxId;
use crate::lenient;
use crate::operation::{DOWNLOAD, EXECUTE, Operation, TOOLBOX_URL, TOOLBOX_VERSION, UPLOAD};
use crate::sandbox::Sandbox;
use crate::states::SandboxState;
use crate::upload::Upload;
use crate::wire::{Answer, Call, Recipient};

/// The most output of one command that is read. Redirect what may be larger.
const OUTPUT_LIMIT: usize = 4 * 1024 * 1024;
/// What the way there and back may add to a command's own time limit.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// A short command. For long ones start a detached process with it and poll that.
#[derive(Debug, Clone)]
pub struct Execute {
    /// Given to a shell's standard input. Never a secret.
    pub command: String,
    /// Where; the user's home if none.
    pub cwd: Option<String>,
    /// After this long it is killed. Whole seconds, rounded up, at least one.
    pub timeout: Duration,
    /// Its environment, which leaves nothing behind.
    pub envs: BTreeMap<String, SecretString>,
}

impl Execute {
    /// A command with a time limit, in the home, without further environment.
    pub fn new(command: impl Into<String>, timeout: Duration) -> Self {
        Self { command: command.into(), cwd: None, timeout, envs: BTreeMap::new() }
    }
}

/// A command that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code; −1 when it was killed by a signal or could not be launched at all (a missing `cwd`).
    pub exit_code: i32,
    /// Standard output and error as they came.
    pub result: String,
}

/// A command of which no result is known.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// It was killed at its time limit; its output is lost.
    #[error("the command was killed after {} s", timeout.as_secs())]
    TimedOut {
        /// The time limit it was given, in whole seconds.
        timeout: Duration,
    },
    /// The sandbox is not started.
    #[error("the sandbox is not running")]
    NotRunning(#[source] Error),
    /// The sandbox does not exist any more.
    #[error("the sandbox is gone")]
    Gone(#[source] Error),
    /// It ran, or still runs, and wrote more than is read.
    #[error("the command wrote more than {OUTPUT_LIMIT} bytes")]
    TooMuchOutput(#[source] Error),
    /// No answer: it may be running, or have run.
    #[error("it is not known whether the command ran")]
    Unknown(#[source] Error),
    /// It was not run.
    #[error(transparent)]
    Call(Error),
}

impl ExecuteError {
    fn from_call(error: Error, timeout: Duration) -> Self {
        let is = |kind| error.kind() == kind;
        if is(ErrorKind::CommandTimedOut) {
            Self::TimedOut { timeout }
        } else if is(ErrorKind::WrongState) {
            Self::NotRunning(error)
        } else if is(ErrorKind::NotFound) {
            Self::Gone(error)
        } else if is(ErrorKind::TooLarge) {
            Self::TooMuchOutput(error)
        } else if error.is_unknown() {
            Self::Unknown(error)
        } else {
            Self::Call(error)
        }
    }
}

/// The toolbox of one sandbox.
#[derive(Debug, Clone)]
pub struct Toolbox {
    client: Client,
    sandbox: SandboxId,
    base: Url,
}

#[derive(Deserialize)]
struct ProxyUrl {
    #[serde(default, deserialize_with = "lenient::text")]
    url: Option<String>,
}

#[derive(Deserialize)]
struct ExecuteAnswer {
    #[serde(rename = "exitCode", default, deserialize_with = "lenient::whole")]
    exit_code: Option<i32>,
    /// What older daemons call it.
    #[serde(default, deserialize_with = "lenient::whole")]
    code: Option<i32>,
    #[serde(default, deserialize_with = "lenient::word")]
    result: String,
}

impl Client {
    /// The toolbox of a sandbox. Asks where it is only when the sandbox does not say.
    pub async fn toolbox(&self, sandbox: &Sandbox) -> Result<Toolbox, Error> {
        let proxy = match &sandbox.toolbox_proxy_url {
            Some(url) => Some(url.clone()),
            None => {
                self.send(&self.call(TOOLBOX_URL, &[sandbox.id.as_str()])).await?.read_row::<ProxyUrl>()?.url
            }
        };
        let base = proxy.and_then(|proxy| base(&proxy, &sandbox.id));
        let base = base.ok_or(Error::Unaddressable { operation: TOOLBOX_URL })?;
        Ok(Toolbox { client: self.clone(), sandbox: sandbox.id.clone(), base })
    }
}

/// The proxy routes by the id, never by the name.
fn base(proxy: &str, id: &SandboxId) -> Option<Url> {
    let mut base = Url::parse(proxy).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if matches!(id.as_str(), "" | "." | "..") {
        return None;
    }
    base.path_segments_mut().ok()?.pop_if_empty().push(id.as_str());
    Some(base)
}

impl Toolbox {
    fn call(&self, operation: Operation) -> Call<'_> {
        Call { base: &self.base, recipient: Recipient::Toolbox, ..self.client.call(operation, &[]) }
    }

    /// Runs a short command and waits for it. Never repeated.
    pub async fn execute(&self, command: &Execute) -> Result<Executed, ExecuteError> {
        let seconds = command.timeout.as_secs() + u64::from(command.timeout.subsec_nanos() > 0);
        let timeout = Duration::from_secs(seconds.max(1));
        let envs: BTreeMap<&str, &str> =
            command.envs.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        let mut body = json!({ "command": command.command, "timeout": timeout.as_secs(), "envs": envs });
        if let Some(cwd) = &command.cwd {
            body["cwd"] = json!(cwd);
        }
        let call = self.call(EXECUTE).timeout(timeout + ON_THE_WAY).limit(OUTPUT_LIMIT);
        let call = call.json(&body).map_err(ExecuteError::Call)?;
        let answer = self.send(&call).await.and_then(|answer| answer.read_row::<ExecuteAnswer>());
        match answer {
            Ok(ExecuteAnswer { exit_code, code, result }) => match exit_code.or(code) {
                Some(exit_code) => Ok(Executed { exit_code, result }),
                None => Err(ExecuteError::Unknown(Error::Undecodable {
                    operation: EXECUTE,
                    status: 200,
                    source: serde::de::Error::custom("there is no exit code"),
                })),
            },
            Err(error) => Err(ExecuteError::from_call(error, timeout)),
        }
    }

    /// Writes files, folders included.
    pub async fn upload(&self, files: &[Upload]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        self.send(&self.call(UPLOAD).files(files)).await.map(drop)
    }

    /// Reads a file of at most `limit` bytes; none when there is none.
    pub async fn download(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let call = self.call(DOWNLOAD).query("path", path).limit(limit);
        match self.send(&call).await {
            Ok(answer) => Ok(Some(answer.body)),
            // Daemon and proxy say 404 alike. Who answers another call of this sandbox's was there to look for the file.
            Err(Error::Contradicted { status: 404, .. }) if self.answers().await => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        match self.client.send(call).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.look_into(error).await),
        }
    }

    /// Whether its daemon answers at all, asked once and taken at the proxy's word.
    pub async fn answers(&self) -> bool {
        self.client.send(&self.call(TOOLBOX_VERSION)).await.is_ok()
    }

    /// What stands behind a refusal. The proxy says 401 where the API does not answer it, and 404 where it does not know the sandbox's
    /// machine any more: a key is bad, and a sandbox gone, when the API itself says so. One call tells both: with a bad key the API
    /// says nothing of a sandbox.
    async fn look_into(&self, refused: Error) -> Error {
        let Error::Refused { operation, kind, status, message, .. } = &refused else { return refused };
        if !matches!(kind, ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::WrongState) {
            return refused;
        }
        let as_kind = |kind| Error::Refused {
            operation: *operation,
            kind,
            status: *status,
            message: message.clone(),
            after: None,
        };
        match self.client.get_sandbox(&self.sandbox).await {
            Err(error) => error,
            Ok(None) => as_kind(ErrorKind::NotFound),
            Ok(Some(sandbox)) if sandbox.state.is_going() => as_kind(ErrorKind::NotFound),
            Ok(Some(Sandbox { state, .. })) if state == SandboxState::Started || state.is_pending() => {
                Error::Contradicted {
                    operation: *operation,
                    status: *status,
                    message: message.clone(),
                    state,
                }
            }
            Ok(Some(_)) => as_kind(ErrorKind::WrongState),
        }
    }
}
