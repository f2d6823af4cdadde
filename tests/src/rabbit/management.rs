//! The node's management API, as far as the harness needs it: one small request on a connection of its own. Virtual hosts
//! come and go with it in milliseconds, where `rabbitmqctl` takes seconds of processor time each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;

use super::access::USER;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Deleting a virtual host deletes its queues, one after the other.
const ANSWER_DEADLINE: Duration = Duration::from_mins(2);

/// Sends `method path` with this JSON and wants a status of the 2xx range.
pub(super) fn request(address: SocketAddr, method: &str, path: &str, json: &str) -> anyhow::Result<()> {
    let status = exchange(address, method, path, json).with_context(|| format!("{method} {path}"))?;
    let code = status.split(' ').nth(1).unwrap_or_default();
    ensure!(code.starts_with('2'), "{method} {path}: {}", status.trim());
    Ok(())
}

/// Answers the status line.
fn exchange(address: SocketAddr, method: &str, path: &str, json: &str) -> std::io::Result<String> {
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{USER}"));
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_DEADLINE)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    )?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status)
}
