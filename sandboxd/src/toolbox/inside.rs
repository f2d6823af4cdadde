//! Enters a started sandbox for one call, and runs small commands of our own in it.
//!
//! A call counts as activity while it is open, so a sandbox in use is not stopped for being idle.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::error::ToolboxError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::jail::{HOME, Jail, SHELL};
use crate::rows::now;
use crate::server::Server;

/// A started sandbox, entered by one call. Its activity is touched now and when the call ends; while a call is open
/// the sandbox isn't idle.
pub(crate) struct Inside {
    pub(crate) server: Arc<Server>,
    pub(crate) id: String,
    pub(crate) jail: Arc<Jail>,
    pub(crate) environment: BTreeMap<String, String>,
    touches: Touches,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Touches {
    Activity,
    Nothing,
}

const SKIP_ACTIVITY: &str = "x-daytona-skip-last-activity-update";
/// Where our own small commands find theirs.
const OWN_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Answers of our own small commands; only `execute` has no bound, as the contract demands.
const OUTPUT_BOUND: u64 = 16 * 1024 * 1024;

impl FromRequestParts<Arc<Server>> for Inside {
    type Rejection = ToolboxError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, ToolboxError> {
        let caller = Caller::from_request_parts(parts, server).await?;
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, server).await;
        let id = path.ok().and_then(|Path(mut path)| path.remove("sandbox")).unwrap_or_default();
        let touches = match parts.headers.get(SKIP_ACTIVITY).map(axum::http::HeaderValue::as_bytes) {
            Some(b"true") => Touches::Nothing,
            Some(_) | None => Touches::Activity,
        };
        let mut store = server.store();
        let sandbox = store
            .sandboxes
            .get_mut(&id)
            .filter(|sandbox| sandbox.row.organization_id == caller.organization());
        // The proxy let it through: it remembers a yes for longer than some sandboxes live.
        let sandbox = sandbox.ok_or_else(|| ToolboxError::NoContainer(id.clone()))?;
        let jail = sandbox.jail.clone().ok_or(ApiError::NoAddress)?;
        let mut environment = server.plan.environment.clone();
        environment.insert("DAYTONA_SANDBOX_ID".to_owned(), id.clone());
        environment.insert("DAYTONA_SANDBOX_SNAPSHOT".to_owned(), sandbox.row.snapshot.clone());
        environment.insert("DAYTONA_SANDBOX_USER".to_owned(), sandbox.row.user.clone());
        environment.extend(sandbox.env.clone());
        environment.extend(sandbox.daemon_env.clone());
        if touches == Touches::Activity {
            sandbox.row.last_activity_at = now();
            sandbox.open_calls += 1;
        }
        drop(store);
        Ok(Self { server: Arc::clone(server), id, jail, environment, touches })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.touches == Touches::Activity
            && let Some(sandbox) = self.server.store().sandboxes.get_mut(&self.id)
        {
            sandbox.row.last_activity_at = now();
            sandbox.open_calls = sandbox.open_calls.saturating_sub(1);
        }
    }
}

impl Inside {
    /// A small command of ours, which Daytona's daemon does by itself: nothing that the sandbox's user put somewhere is run.
    pub(crate) fn command(&self, program: &[&str]) -> Command {
        let environment = [("PATH", OWN_PATH), ("HOME", HOME), ("LANG", "C.UTF-8")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        self.jail.command(HOME, &environment, program)
    }

    /// A shell of the sandbox's user.
    pub(crate) fn shell(&self) -> Command {
        self.jail.command(HOME, &self.environment, &[SHELL])
    }

    /// Runs a small command of ours with `input` on its stdin.
    pub(crate) async fn run(&self, program: &[&str], input: &[u8]) -> Result<Output, ToolboxError> {
        let mut command = self.command(program);
        collect(&mut command, input).await
    }
}

/// Runs `command` with `input` on its stdin and both outputs kept, each up to a bound.
pub(crate) async fn collect(command: &mut Command, input: &[u8]) -> Result<Output, ToolboxError> {
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // The command may end without reading everything: its exit status counts.
            drop(stdin.write_all(input).await);
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = async {
        if let Some(stdout) = stdout { stdout.take(OUTPUT_BOUND).read_to_end(&mut out).await } else { Ok(0) }
    };
    let read_err = async {
        if let Some(stderr) = stderr { stderr.take(OUTPUT_BOUND).read_to_end(&mut err).await } else { Ok(0) }
    };
    let ((), read_out, read_err) = tokio::join!(feed, read_out, read_err);
    read_out?;
    read_err?;
    Ok(Output { status: child.wait().await?, stdout: out, stderr: err })
}
