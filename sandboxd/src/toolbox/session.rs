//! Sessions: a long-lived bash per session that *sources* each command, so `exit` in one ends the session and its exit
//! code is never written. Command texts and logs lie in clear under ~/.daytona/sessions until the session is deleted,
//! and are captured with the home: the traps of the real thing, kept on purpose.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::error::ToolboxError;
use super::inside::Inside;
use super::session_log::{FollowedLog, SessionLog, wants_json};
use crate::jail::{SHELL, kill_session};
use crate::session::{Session, SessionCommand};

const POLL: Duration = Duration::from_millis(100);
const TERMINATION_GRACE: Duration = Duration::from_secs(5);
/// `$d` is the command's directory. Each line of output gets the mark of its stream.
const WRAPPER: &str = r#"mkfifo -- "$d/o" "$d/e" "$d/in"; : > "$d/output.log"
sed -u $'s/^/\001\001\001/' < "$d/o" >> "$d/output.log" & __o=$!
sed -u $'s/^/\002\002\002/' < "$d/e" >> "$d/output.log" & __e=$!
{ . "$d/cmd.sh"; } 0<> "$d/in" > "$d/o" 2> "$d/e"; __x=$?
wait "$__o" "$__e"; rm -f -- "$d/o" "$d/e" "$d/in"; echo "$__x" > "$d/exit_code.new"; mv -- "$d/exit_code.new" "$d/exit_code"
"#;

async fn exit_code(session: &Session, inside: &Inside, command: &str) -> Result<Option<i32>, ToolboxError> {
    let file = format!("{}/{command}/exit_code", session.directory());
    let output = inside.run(&["cat", "--", &file], &[]).await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

async fn read_log(session: &Session, inside: &Inside, command: &str) -> Result<SessionLog, ToolboxError> {
    let file = format!("{}/{command}/output.log", session.directory());
    Ok(SessionLog::split(&inside.run(&["cat", "--", &file], &[]).await?.stdout))
}

async fn describe(session: &Session, inside: &Inside) -> Result<Value, ToolboxError> {
    let mut commands = Vec::new();
    for command in session.commands() {
        let exit_code = exit_code(session, inside, &command.id).await?;
        commands.push(describe_command(&command, exit_code));
    }
    Ok(json!({ "sessionId": session.id, "commands": commands }))
}

fn describe_command(command: &SessionCommand, exit_code: Option<i32>) -> Value {
    match exit_code {
        Some(exit_code) => json!({ "id": command.id, "command": command.text, "exitCode": exit_code }),
        None => json!({ "id": command.id, "command": command.text }),
    }
}

fn find(inside: &Inside, id: &str) -> Result<Arc<Session>, ToolboxError> {
    let store = inside.server.store();
    store
        .sandboxes
        .get(&inside.id)
        .and_then(|sandbox| sandbox.sessions.get(id))
        .cloned()
        .ok_or(ToolboxError::NoSession)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSession {
    session_id: String,
}

pub(crate) async fn create(inside: Inside, bytes: Bytes) -> Result<StatusCode, ToolboxError> {
    let id = serde_json::from_slice::<CreateSession>(&bytes)
        .map_err(|_| ToolboxError::Invalid("body"))?
        .session_id;
    let plain = !id.is_empty() && !id.contains('/') && id != "." && id != "..";
    if !plain || id == "entrypoint" {
        return Err(ToolboxError::Invalid("sessionId"));
    }
    if find(&inside, &id).is_ok() {
        return Err(ToolboxError::SessionExists);
    }
    let mut shell = inside.shell().stdin(Stdio::piped()).spawn()?;
    let stdin = shell.stdin.take().ok_or(ToolboxError::NoPipe)?;
    let ended = CancellationToken::new();
    let session = Arc::new(Session::new(id.clone(), stdin, shell.id(), ended.clone()));
    inside.server.tasks.spawn(async move {
        drop(shell.wait().await);
        ended.cancel();
    });
    inside.run(&["mkdir", "-p", "--", &session.directory()], &[]).await?;
    let mut store = inside.server.store();
    if let Some(sandbox) = store.sandboxes.get_mut(&inside.id) {
        sandbox.sessions.insert(id, session);
    }
    Ok(StatusCode::CREATED)
}

pub(crate) async fn list(inside: Inside) -> Result<Json<Value>, ToolboxError> {
    let sessions: Vec<Arc<Session>> = {
        let store = inside.server.store();
        store
            .sandboxes
            .get(&inside.id)
            .map(|sandbox| sandbox.sessions.values().cloned().collect())
            .unwrap_or_default()
    };
    let mut shown = Vec::new();
    for session in sessions {
        shown.push(describe(&session, &inside).await?);
    }
    Ok(Json(Value::Array(shown)))
}

pub(crate) async fn get(
    inside: Inside,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ToolboxError> {
    Ok(Json(describe(&*find(&inside, &id)?, &inside).await?))
}

pub(crate) async fn delete(
    inside: Inside,
    Path((_, id)): Path<(String, String)>,
) -> Result<StatusCode, ToolboxError> {
    let session = find(&inside, &id)?;
    if let Some(sandbox) = inside.server.store().sandboxes.get_mut(&inside.id) {
        sandbox.sessions.remove(&id);
    }
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(nsenter) = session.nsenter.filter(|_| !session.ended.is_cancelled()) {
            kill_session(nsenter, signal);
        }
        if tokio::time::timeout(TERMINATION_GRACE, session.ended.cancelled()).await.is_ok() {
            break;
        }
    }
    inside.run(&["rm", "-rf", "--", &session.directory()], &[]).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecRequest {
    command: String,
    #[serde(default)]
    run_async: bool,
    #[serde(default, rename = "async")]
    asynchronous: bool,
}

pub(crate) async fn exec(
    inside: Inside,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, ToolboxError> {
    let request: ExecRequest = serde_json::from_slice(&bytes).map_err(|_| ToolboxError::Invalid("body"))?;
    let session = find(&inside, &id)?;
    if session.ended.is_cancelled() {
        return Err(ToolboxError::SessionEnded);
    }
    let command = uuid::Uuid::new_v4().to_string();
    let directory = format!("{}/{command}", session.directory());
    let store = r#"mkdir -p -- "$1" && exec cat > "$1/cmd.sh""#;
    inside.run(&[SHELL, "-c", store, "session", &directory], request.command.as_bytes()).await?;
    session.remember(SessionCommand { id: command.clone(), text: request.command });
    let quoted = directory.replace('\'', r"'\''");
    let script = format!("d='{quoted}'\n{WRAPPER}");
    session.shell.lock().await.write_all(script.as_bytes()).await.map_err(|_| ToolboxError::SessionEnded)?;
    if request.run_async || request.asynchronous {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "cmdId": command }))).into_response());
    }
    // For ever, as the daemon does; the client's leaving ends this wait, the sandbox's end fails it.
    let exit_code = loop {
        if let Some(exit_code) = exit_code(&session, &inside, &command).await? {
            break exit_code;
        }
        find(&inside, &id)?;
        tokio::time::sleep(POLL).await;
    };
    let log = read_log(&session, &inside, &command).await?;
    let output = if wants_json(&headers) { log.marked } else { log.plain };
    Ok(Json(json!({
        "cmdId": command, "exitCode": exit_code, "output": output, "stdout": log.stdout, "stderr": log.stderr,
    }))
    .into_response())
}

pub(crate) async fn command(
    inside: Inside,
    Path((_, id, command)): Path<(String, String, String)>,
) -> Result<Json<Value>, ToolboxError> {
    let session = find(&inside, &id)?;
    let command = session.command(&command).ok_or(ToolboxError::NoCommand)?;
    let exit_code = exit_code(&session, &inside, &command.id).await?;
    Ok(Json(describe_command(&command, exit_code)))
}

#[derive(Deserialize)]
struct Input {
    data: String,
}

pub(crate) async fn input(
    inside: Inside,
    Path((_, id, command)): Path<(String, String, String)>,
    bytes: Bytes,
) -> Result<StatusCode, ToolboxError> {
    let input: Input = serde_json::from_slice(&bytes).map_err(|_| ToolboxError::Invalid("body"))?;
    let session = find(&inside, &id)?;
    session.command(&command).ok_or(ToolboxError::NoCommand)?;
    let pipe = format!("{}/{command}/in", session.directory());
    // Opened for both, so that it never blocks; gone when the command has ended.
    let feed = r#"[ -p "$1" ] || exit 44; exec cat 1<> "$1""#;
    let output = inside.run(&[SHELL, "-c", feed, "session", &pipe], input.data.as_bytes()).await?;
    if output.status.success() { Ok(StatusCode::NO_CONTENT) } else { Err(ToolboxError::NoCommand) }
}

#[derive(Deserialize)]
pub(crate) struct LogsQuery {
    follow: Option<String>,
}

pub(crate) async fn logs(
    inside: Inside,
    Path((_, id, command)): Path<(String, String, String)>,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ToolboxError> {
    let session = find(&inside, &id)?;
    session.command(&command).ok_or(ToolboxError::NoCommand)?;
    if query.follow.as_deref() == Some("true") {
        let followed = FollowedLog::start(inside, &format!("{}/{command}", session.directory()))?;
        return Ok(match upgrade {
            Ok(upgrade) => upgrade.on_upgrade(|socket| followed.send(socket)),
            Err(_) => {
                ([(header::CONTENT_TYPE, "application/octet-stream")], followed.into_body()).into_response()
            }
        });
    }
    let log = read_log(&session, &inside, &command).await?;
    if wants_json(&headers) {
        return Ok(
            Json(json!({ "output": log.marked, "stdout": log.stdout, "stderr": log.stderr })).into_response()
        );
    }
    let keep_marks = headers.get("x-daytona-split-output").is_some_and(|value| value == "true");
    Ok(if keep_marks { log.marked } else { log.plain }.into_response())
}
