//! Sessions: a long-lived bash per session that *sources* each command, so `exit` in one ends the session and its exit
//! code is never written. Command texts and logs lie in clear under ~/.daytona/sessions until the session is deleted,
//! and are captured with the home: the traps of the real thing, kept on purpose.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::{Inside, ToolboxError};
use crate::jail::{HOME, kill_session};

const POLL: Duration = Duration::from_millis(100);
const TERMINATION_GRACE: Duration = Duration::from_secs(5);
const STDOUT_MARK: &[u8] = b"\x01\x01\x01";
const STDERR_MARK: &[u8] = b"\x02\x02\x02";
/// `$d` is the command's directory. Each line of output gets the mark of its stream.
const WRAPPER: &str = r#"mkfifo -- "$d/o" "$d/e" "$d/in"; : > "$d/output.log"
sed -u $'s/^/\001\001\001/' < "$d/o" >> "$d/output.log" & __o=$!
sed -u $'s/^/\002\002\002/' < "$d/e" >> "$d/output.log" & __e=$!
{ . "$d/cmd.sh"; } 0<> "$d/in" > "$d/o" 2> "$d/e"; __x=$?
wait "$__o" "$__e"; rm -f -- "$d/o" "$d/e" "$d/in"; echo "$__x" > "$d/exit_code.new"; mv -- "$d/exit_code.new" "$d/exit_code"
"#;

#[derive(Clone, Serialize)]
struct Given {
    id: String,
    command: String,
}

pub(crate) struct Session {
    id: String,
    commands: Mutex<Vec<Given>>,
    shell: tokio::sync::Mutex<ChildStdin>,
    nsenter: Option<u32>,
    ended: CancellationToken,
}

impl Session {
    fn directory(&self) -> String {
        format!("{HOME}/.daytona/sessions/{}", self.id)
    }

    fn given(&self) -> Vec<Given> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, command: &str) -> Result<Given, ToolboxError> {
        self.given().into_iter().find(|given| given.id == command).ok_or(ToolboxError::NoCommand)
    }

    async fn exit_code(&self, inside: &Inside, command: &str) -> Result<Option<i32>, ToolboxError> {
        let file = format!("{}/{command}/exit_code", self.directory());
        let output = inside.run(&["cat", "--", &file], &[]).await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
    }

    async fn log(&self, inside: &Inside, command: &str) -> Result<Vec<u8>, ToolboxError> {
        let file = format!("{}/{command}/output.log", self.directory());
        Ok(inside.run(&["cat", "--", &file], &[]).await?.stdout)
    }

    async fn describe(&self, inside: &Inside) -> Result<Value, ToolboxError> {
        let mut commands = Vec::new();
        for given in self.given() {
            let exit_code = self.exit_code(inside, &given.id).await?;
            commands.push(shown(&given, exit_code));
        }
        Ok(json!({ "sessionId": self.id, "commands": commands }))
    }
}

fn shown(given: &Given, exit_code: Option<i32>) -> Value {
    match exit_code {
        Some(exit_code) => json!({ "id": given.id, "command": given.command, "exitCode": exit_code }),
        None => json!({ "id": given.id, "command": given.command }),
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
    let mut shell = inside.command(&["bash"]).stdin(Stdio::piped()).spawn()?;
    let stdin = shell.stdin.take().ok_or(ToolboxError::NoPipe)?;
    let ended = CancellationToken::new();
    let session = Arc::new(Session {
        id: id.clone(),
        commands: Mutex::default(),
        shell: tokio::sync::Mutex::new(stdin),
        nsenter: shell.id(),
        ended: ended.clone(),
    });
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
        shown.push(session.describe(&inside).await?);
    }
    Ok(Json(Value::Array(shown)))
}

pub(crate) async fn get(
    inside: Inside,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ToolboxError> {
    Ok(Json(find(&inside, &id)?.describe(&inside).await?))
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
    inside.run(&["bash", "-c", store, "session", &directory], request.command.as_bytes()).await?;
    let given = Given { id: command.clone(), command: request.command };
    session.commands.lock().unwrap_or_else(PoisonError::into_inner).push(given);
    let quoted = directory.replace('\'', r"'\''");
    let script = format!("d='{quoted}'\n{WRAPPER}");
    session.shell.lock().await.write_all(script.as_bytes()).await.map_err(|_| ToolboxError::SessionEnded)?;
    if request.run_async || request.asynchronous {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "cmdId": command }))).into_response());
    }
    // For ever, as the daemon does; the client's leaving ends this wait, the sandbox's end fails it.
    let exit_code = loop {
        if let Some(exit_code) = session.exit_code(&inside, &command).await? {
            break exit_code;
        }
        find(&inside, &id)?;
        tokio::time::sleep(POLL).await;
    };
    let logs = Logs::read(&session.log(&inside, &command).await?);
    let output = if wants_json(&headers) { logs.marked } else { logs.plain };
    Ok(Json(json!({
        "cmdId": command, "exitCode": exit_code, "output": output, "stdout": logs.stdout, "stderr": logs.stderr,
    }))
    .into_response())
}

pub(crate) async fn command(
    inside: Inside,
    Path((_, id, command)): Path<(String, String, String)>,
) -> Result<Json<Value>, ToolboxError> {
    let session = find(&inside, &id)?;
    let given = session.find(&command)?;
    let exit_code = session.exit_code(&inside, &command).await?;
    Ok(Json(shown(&given, exit_code)))
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
    session.find(&command)?;
    let pipe = format!("{}/{command}/in", session.directory());
    // Opened for both, so that it never blocks; gone when the command has ended.
    let feed = r#"[ -p "$1" ] || exit 44; exec cat 1<> "$1""#;
    let output = inside.run(&["bash", "-c", feed, "session", &pipe], input.data.as_bytes()).await?;
    if output.status.success() { Ok(StatusCode::NO_CONTENT) } else { Err(ToolboxError::NoCommand) }
}

#[derive(Default)]
struct Logs {
    marked: String,
    plain: String,
    stdout: String,
    stderr: String,
}

impl Logs {
    fn read(log: &[u8]) -> Self {
        let (mut plain, mut stdout, mut stderr) = (Vec::new(), Vec::new(), Vec::new());
        for line in log.split_inclusive(|byte| *byte == b'\n') {
            let (stream, text) = match (line.strip_prefix(STDOUT_MARK), line.strip_prefix(STDERR_MARK)) {
                (None, Some(text)) => (&mut stderr, text),
                (Some(text), _) => (&mut stdout, text),
                (None, None) => (&mut stdout, line),
            };
            stream.extend_from_slice(text);
            plain.extend_from_slice(text);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { marked: text(log), plain: text(&plain), stdout: text(&stdout), stderr: text(&stderr) }
    }
}

/// SDKs from 0.167.0 on are answered in JSON.
fn wants_json(headers: &HeaderMap) -> bool {
    let version =
        headers.get("x-daytona-sdk-version").and_then(|version| version.to_str().ok()).unwrap_or_default();
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= (0, 167)
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
    session.find(&command)?;
    if query.follow.as_deref() == Some("true") {
        let followed = Followed::start(inside, &format!("{}/{command}", session.directory()))?;
        return Ok(match upgrade {
            Ok(upgrade) => upgrade.on_upgrade(|socket| followed.send(socket)),
            Err(_) => {
                ([(header::CONTENT_TYPE, "application/octet-stream")], followed.into_body()).into_response()
            }
        });
    }
    let logs = Logs::read(&session.log(&inside, &command).await?);
    if wants_json(&headers) {
        return Ok(Json(json!({ "output": logs.marked, "stdout": logs.stdout, "stderr": logs.stderr }))
            .into_response());
    }
    let keep_marks = headers.get("x-daytona-split-output").is_some_and(|value| value == "true");
    Ok(if keep_marks { logs.marked } else { logs.plain }.into_response())
}

/// A log being followed: a `tail` inside that ends with the command, or with the client.
struct Followed {
    stdout: ChildStdout,
    end: FollowEnd,
}

struct FollowEnd {
    nsenter: Option<u32>,
    _inside: Inside,
}

impl Drop for FollowEnd {
    fn drop(&mut self) {
        if let Some(nsenter) = self.nsenter {
            kill_session(nsenter, Signal::KILL);
        }
    }
}

impl Followed {
    fn start(inside: Inside, directory: &str) -> Result<Self, ToolboxError> {
        let follow = r#"until [ -e "$1/output.log" ]; do sleep 0.1; done
            tail -c +1 -s 0.1 -f -- "$1/output.log" & until [ -e "$1/exit_code" ]; do sleep 0.1; done; sleep 0.5; kill $!"#;
        let mut child =
            inside.command(&["bash", "-c", follow, "session", directory]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or(ToolboxError::NoPipe)?;
        Ok(Self { stdout, end: FollowEnd { nsenter: child.id(), _inside: inside } })
    }

    fn into_body(self) -> Body {
        let end = self.end;
        Body::from_stream(ReaderStream::new(self.stdout).inspect(move |_| {
            let _holds = &end;
        }))
    }

    async fn send(self, mut socket: WebSocket) {
        let mut chunks = ReaderStream::new(self.stdout);
        loop {
            tokio::select! {
                chunk = chunks.next() => match chunk {
                    Some(Ok(chunk)) => if socket.send(Message::Binary(chunk)).await.is_err() { break },
                    Some(Err(_)) | None => break,
                },
                message = socket.recv() => if !matches!(message, Some(Ok(_))) { break },
            }
        }
        // The client may be gone already.
        let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        drop(socket.send(Message::Close(Some(normal))).await);
    }
}

#[cfg(test)]
mod tests {
    use super::Logs;

    #[test]
    fn streams_are_told_apart() {
        let logs = Logs::read(b"\x01\x01\x01out\n\x02\x02\x02err\n\x01\x01\x01last");
        assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\nlast", "err\n"));
        assert_eq!(logs.plain, "out\nerr\nlast");
    }
}
