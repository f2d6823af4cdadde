//! The output of a session's command: split into its streams, or followed while it grows.

use std::process::Stdio;

use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::HeaderMap;
use futures::StreamExt;
use rustix::process::Signal;
use tokio::process::ChildStdout;
use tokio_util::io::ReaderStream;

use super::error::ToolboxError;
use super::inside::Inside;
use crate::jail::{SHELL, kill_session};

const STDOUT_MARK: &[u8] = b"\x01\x01\x01";
const STDERR_MARK: &[u8] = b"\x02\x02\x02";

#[derive(Default)]
pub(crate) struct SessionLog {
    /// As it lies in the sandbox, each line with the mark of its stream.
    pub(crate) marked: String,
    pub(crate) plain: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl SessionLog {
    pub(crate) fn split(log: &[u8]) -> Self {
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
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let version =
        headers.get("x-daytona-sdk-version").and_then(|version| version.to_str().ok()).unwrap_or_default();
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= (0, 167)
}

/// A log being followed: a `tail` inside that ends with the command, or with the client.
pub(crate) struct FollowedLog {
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

impl FollowedLog {
    pub(crate) fn start(inside: Inside, directory: &str) -> Result<Self, ToolboxError> {
        let follow = r#"until [ -e "$1/output.log" ]; do sleep 0.1; done
            tail -c +1 -s 0.1 -f -- "$1/output.log" & until [ -e "$1/exit_code" ]; do sleep 0.1; done; sleep 0.5; kill $!"#;
        let mut child =
            inside.command(&[SHELL, "-c", follow, "session", directory]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or(ToolboxError::NoPipe)?;
        Ok(Self { stdout, end: FollowEnd { nsenter: child.id(), _inside: inside } })
    }

    pub(crate) fn into_body(self) -> Body {
        let end = self.end;
        Body::from_stream(ReaderStream::new(self.stdout).inspect(move |_| {
            let _holds = &end;
        }))
    }

    pub(crate) async fn send(self, mut socket: WebSocket) {
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
    use super::SessionLog;

    #[test]
    fn the_two_streams_are_split() {
        let log = SessionLog::split(b"\x01\x01\x01out\n\x02\x02\x02err\n\x01\x01\x01last");
        assert_eq!((log.stdout.as_str(), log.stderr.as_str()), ("out\nlast", "err\n"));
        assert_eq!(log.plain, "out\nerr\nlast");
    }
}
