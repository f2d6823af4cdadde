//! The client side of the endpoint, for a `healthcheck` subcommand in images without a shell or curl.
//!
//! One GET over a plain socket: HTTP/1.0, so that the answer ends where the connection does and neither
//! chunks nor keep-alive need a client library.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest a check takes: a probe that hangs is a probe that fails.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most of an answer that is read.
const ANSWER_LIMIT: u64 = 16 * 1024;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// Not of the form `http://host:port/path`.
    #[error("`{url}` is not of the form http://host:port/path")]
    Url {
        /// The URL as it was given.
        url: String,
    },
    /// No answer: nothing listens, or the connection broke.
    #[error("no answer from {url}")]
    NoAnswer {
        /// The URL that was asked.
        url: String,
        /// What the connection said.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer from {url} within {PATIENCE:?}")]
    TooSlow {
        /// The URL that was asked.
        url: String,
    },
    /// Something answered, and it was not HTTP.
    #[error("the answer from {url} is not HTTP")]
    NotHttp {
        /// The URL that was asked.
        url: String,
    },
    /// The process answered that it is not well.
    #[error("{url} answered {status}: {body}")]
    Unhealthy {
        /// The URL that was asked.
        url: String,
        /// The status, 2xx never.
        status: u16,
        /// The body: which condition or heartbeat.
        body: String,
    },
}

/// Asks `url` and succeeds when the answer is 2xx.
pub async fn healthcheck(url: &str) -> Result<(), HealthcheckError> {
    let (authority, path) = split(url).ok_or_else(|| HealthcheckError::Url { url: url.to_owned() })?;
    let answer = tokio::time::timeout(PATIENCE, get(authority, path))
        .await
        .map_err(|_| HealthcheckError::TooSlow { url: url.to_owned() })?
        .map_err(|source| HealthcheckError::NoAnswer { url: url.to_owned(), source })?;
    let (status, body) = parse(&answer).ok_or_else(|| HealthcheckError::NotHttp { url: url.to_owned() })?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(HealthcheckError::Unhealthy { url: url.to_owned(), status, body: body.to_owned() })
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let (host, port) = authority.rsplit_once(':')?;
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && !host.is_empty() && port.parse::<u16>().is_ok()).then_some((authority, path))
}

async fn get(authority: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parse(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(split("http://127.0.0.1:9090/healthz"), Some(("127.0.0.1:9090", "/healthz")));
        assert_eq!(split("http://[::1]:9090"), Some(("[::1]:9090", "/")));
        for wrong in ["https://a:1/", "http://a/", "http://:1/", "a:1", "http://a:70000/", "http://a:1/x y"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn nothing_listening_is_no_answer() {
        let listener = crate::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
        let url = format!("http://{}/healthz", listener.local_addr().expect("bound"));
        drop(listener);
        let error = healthcheck(&url).await.expect_err("nobody there");
        assert!(matches!(error, HealthcheckError::NoAnswer { .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_never_answers_is_too_slow() {
        let listener = crate::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
        let url = format!("http://{}/healthz", listener.local_addr().expect("bound"));
        let error = healthcheck(&url).await.expect_err("no answer");
        assert!(matches!(error, HealthcheckError::TooSlow { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn another_protocol_is_told_apart() {
        let listener = crate::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
        let url = format!("http://{}/healthz", listener.local_addr().expect("bound"));
        let other = async {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut asked = [0; 64];
            let read = stream.read(&mut asked).await.expect("the request");
            assert!(asked[..read].starts_with(b"GET /healthz HTTP/1.0\r\n"));
            stream.write_all(b"AMQP\0\0\x09\x01").await.expect("write");
        };
        let (checked, ()) = tokio::join!(healthcheck(&url), other);
        assert!(matches!(checked, Err(HealthcheckError::NotHttp { .. })), "{checked:?}");
    }
}
