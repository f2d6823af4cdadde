//! `process/execute`: one command, piped to a plain bash. It outlives a client that goes away, has no limit unless
//! asked for one, and its whole output is held in memory: all three are how Daytona's daemon behaves.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::error::ToolboxError;
use super::inside::Inside;
use crate::jail::{HOME, SHELL, kill_session};

pub(crate) async fn version(inside: Inside) -> Json<Value> {
    Json(json!({ "version": inside.server.settings.manner.version() }))
}

pub(crate) async fn directory(_: Inside) -> Json<Value> {
    Json(json!({ "dir": HOME }))
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct UpdateEnvironment {
    set: BTreeMap<String, String>,
    unset: Vec<String>,
}

/// For later processes; never captured, since only the sandbox's creation env is.
pub(crate) async fn change_environment(inside: Inside, bytes: Bytes) -> Result<Json<Value>, ToolboxError> {
    let change: UpdateEnvironment =
        serde_json::from_slice(&bytes).map_err(|_| ToolboxError::Invalid("body"))?;
    let mut store = inside.server.store();
    if let Some(sandbox) = store.sandboxes.get_mut(&inside.id) {
        sandbox.daemon_env.retain(|name, _| !change.unset.contains(name));
        sandbox.daemon_env.extend(change.set);
    }
    drop(store);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct ExecuteRequest {
    #[serde(default)]
    command: String,
    cwd: Option<String>,
    timeout: Option<u64>,
    envs: Option<BTreeMap<String, String>>,
}

pub(crate) async fn execute(inside: Inside, bytes: Bytes) -> Result<Json<Value>, ToolboxError> {
    let request: ExecuteRequest =
        serde_json::from_slice(&bytes).map_err(|_| ToolboxError::Invalid("body"))?;
    if request.command.trim().is_empty() {
        return Err(ToolboxError::Invalid("command is required"));
    }
    if !request.envs.iter().flatten().all(|(name, value)| is_variable(name) && !value.contains('\0')) {
        return Err(ToolboxError::Invalid("environment variable name"));
    }
    inside.server.faults.count("command executed");
    // A task of its own: the client's leaving drops this handler, not the command.
    let tasks = inside.server.tasks.clone();
    let run = tasks.spawn(run(inside, request));
    let (exit_code, result) = run.await.map_err(std::io::Error::other)??;
    Ok(Json(json!({ "exitCode": exit_code, "result": result })))
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

async fn run(inside: Inside, request: ExecuteRequest) -> Result<(i32, String), ToolboxError> {
    let directory = match request.cwd.filter(|cwd| !cwd.is_empty()) {
        Some(cwd) if cwd.starts_with('/') => cwd,
        Some(cwd) => format!("{HOME}/{cwd}"),
        None => HOME.to_owned(),
    };
    if let Err(error) = inside.jail.enterable(&directory) {
        let kind = error.kind().to_string().replace("entity not found", "no such file or directory");
        return Ok((-1, format!("chdir {directory}: {kind}")));
    }
    let mut environment = inside.environment.clone();
    environment.extend(request.envs.unwrap_or_default());
    // One pipe for both outputs keeps the order of writing.
    let (reader, writer) = std::io::pipe()?;
    let mut command = inside.jail.command(&directory, &environment, &[SHELL]);
    command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    drop(command);
    let nsenter = child.id();
    let script = request.command;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A script that exits early leaves the rest unread.
            drop(stdin.write_all(script.as_bytes()).await);
        }
    };
    let mut output = Vec::new();
    let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let all = async {
        let ((), read) = tokio::join!(feed, reader.read_to_end(&mut output));
        read?;
        child.wait().await
    };
    let limit = request.timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let status = match limit {
        None => all.await?,
        Some(limit) => {
            let Ok(status) = tokio::time::timeout(limit, all).await else {
                if let Some(nsenter) = nsenter {
                    kill_session(nsenter, Signal::KILL);
                }
                return Err(ToolboxError::Timeout);
            };
            status?
        }
    };
    let exit_code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok((exit_code, String::from_utf8_lossy(&output).into_owned()))
}
