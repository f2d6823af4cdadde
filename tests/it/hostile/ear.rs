//! A listener on loopback that hostile code can tell what it sees: sandboxes share this machine's network, so what is told
//! here has left the sandbox for good.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// How long somebody may take to tell something.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// What somebody told.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// The repository that it is from.
    pub(super) row: String,
    pub(super) label: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Ear {
    pub(super) port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    _listening: AbortOnDropHandle<()>,
}

impl Ear {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let into = heard.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let into = into.clone();
                tokio::spawn(async move {
                    let told = tokio::time::timeout(PATIENCE, listen(stream)).await;
                    into.lock().unwrap().extend(told.ok().flatten());
                });
            }
        });
        Self { port, heard, _listening: AbortOnDropHandle::new(listening) }
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// How often a repository has told something so far, under a label that begins so.
    pub(super) fn count(&self, row: &str, label: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|told| told.row == row && told.label.starts_with(label)).count()
    }
}

/// The first line says who tells it and what it is, the rest is what was seen. What is cut off counts as far as it came.
async fn listen(stream: TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut bytes).await.ok();
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (row, label) = line.split_once(' ')?;
    let (row, label) = (row.to_owned(), label.to_owned());
    Some(Heard { row, label, bytes: bytes.split_off(end) })
}
