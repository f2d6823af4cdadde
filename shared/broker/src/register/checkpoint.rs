//! Checkpoints of the register: all that is known as of one place in its stream, written into the same stream as lines in
//! compressed parts, so that nothing ages out and nobody has to begin with the oldest entry.
//!
//! A short stream beside the register's says where the checkpoints begin. It only saves time: who begins with the oldest
//! entry comes by the last checkpoint too.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use chrono::Utc;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use job::RegisterEntry;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::state::Known;
use super::{Forget, Register, SyncError};
use crate::broker::Inner;
use crate::error::PublishError;
use crate::publish::{CHECKPOINT_PART_TYPE, CHECKPOINT_TYPE, Outgoing, Routing, properties};
use crate::stream::{Place, ReadFrom, Reader, StreamItem};
use crate::{Publisher, Topology};

/// Lines of a part before they are compressed: a fraction of what every broker takes as one message.
const PART_BYTES: usize = 1024 * 1024;
/// Far more than a part ever has: whoever can write to the broker could send anything.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a stream that holds something may take to send it. A fleet that has no checkpoint yet waits so long at a program's start.
const POINTER_PATIENCE: Duration = Duration::from_millis(500);

/// Why there is no new checkpoint. The one before stands.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Its beginning did not come back.
    #[error("the checkpoint could not be begun")]
    Begin(#[from] SyncError),
    /// A part, its end, or where it begins, was not confirmed.
    #[error("the checkpoint could not be written")]
    Write(#[from] PublishError),
    /// The lines could not be compressed.
    #[error("the checkpoint could not be encoded")]
    Encode(#[source] std::io::Error),
}

/// A checkpoint that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointWritten {
    /// How many targets it holds.
    pub targets: usize,
    /// Its messages, but for its beginning and end.
    pub parts: u32,
    /// How many bytes they have, compressed.
    pub bytes: usize,
}

impl Register {
    /// Writes everything known as of now, over `publisher`, as one checkpoint. Each step may take `patience`.
    pub async fn write_checkpoint(
        &self,
        publisher: &Publisher,
        patience: Duration,
    ) -> Result<CheckpointWritten, CheckpointError> {
        let id = Uuid::now_v7();
        let deadline = Instant::now() + patience;
        let (place, known) = self.begin_checkpoint(id, deadline, patience).await?;
        let targets = known.targets.len();
        let encoding = tokio::task::spawn_blocking(move || encode_parts(id, &known));
        let parts = encoding.await.map_err(std::io::Error::other).and_then(|parts| parts);
        let parts = parts.map_err(CheckpointError::Encode)?;
        let bytes = parts.iter().map(Vec::len).sum();
        for part in &parts {
            publisher.publish(&part_message(&publisher.topology, part.clone())).await?;
        }
        let parts = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let end = RegisterEntry::CheckpointEnds { id, parts, at: Utc::now() };
        publisher.publish_register(&end).await?;
        let pointer = Outgoing::entry(publisher.topology.checkpoints_stream(), CHECKPOINT_TYPE, &place)?;
        publisher.publish(&pointer).await?;
        Ok(CheckpointWritten { targets, parts, bytes })
    }

    async fn begin_checkpoint(
        &self,
        id: Uuid,
        deadline: Instant,
        patience: Duration,
    ) -> Result<(Place, Known), SyncError> {
        let (begun, beginning) = oneshot::channel();
        self.shared.lock().begun.insert(id, begun);
        let _forget = Forget { shared: &self.shared, forget: |state| drop(state.begun.remove(&id)) };
        self.publish_until(deadline, patience, &RegisterEntry::CheckpointBegins { id }).await?;
        match timeout_at(deadline, beginning).await {
            Ok(Ok(begun)) => Ok(begun),
            Ok(Err(_)) | Err(_) => Err(SyncError::TooSlow(patience)),
        }
    }
}

/// Where the newest checkpoint begins, as far as it is told at once.
pub(super) async fn find_newest(inner: &Inner) -> Option<Place> {
    let (link, stream) = (inner.stream.clone(), inner.topology.checkpoints_stream());
    let (reader, mut items) = Reader::new(link, stream, ReadFrom::LastChunk, inner.stop.clone());
    let found = async {
        while let Some(item) = items.recv().await {
            match item {
                StreamItem::Entry(entry) => match serde_json::from_slice(&entry.body) {
                    Ok(place) => return Some(place),
                    Err(error) => tracing::debug!(%error, "where a checkpoint begins cannot be read"),
                },
                StreamItem::Restarted => {}
            }
        }
        None
    };
    tokio::select! {
        () = reader.run() => None,
        found = timeout(POINTER_PATIENCE, found) => found.ok().flatten(),
    }
}

/// The first line of a part.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    checkpoint: Uuid,
    number: u32,
}

/// A part of a checkpoint, decoded.
pub(super) struct Part {
    pub(super) checkpoint: Uuid,
    pub(super) number: u32,
    pub(super) lines: Vec<Vec<u8>>,
}

impl Part {
    pub(super) fn decode(body: &[u8]) -> std::io::Result<Self> {
        let mut lines = BufReader::new(GzDecoder::new(body).take(PART_BYTES_MAX)).split(b'\n');
        let header = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
        let Header { checkpoint, number } = serde_json::from_slice(&header)?;
        Ok(Self { checkpoint, number, lines: lines.collect::<Result<_, _>>()? })
    }
}

/// Everything known, as lines in compressed parts.
fn encode_parts(checkpoint: Uuid, known: &Known) -> std::io::Result<Vec<Vec<u8>>> {
    let fleet = serde_json::to_vec(&RegisterEntry::Fleet(known.fleet.clone()))?;
    let folds = known.targets.values().flat_map(job::TargetFold::written_again);
    let entries = folds.map(|entry| serde_json::to_vec(&RegisterEntry::Concern(Box::new(entry))));
    let lines = [Ok(fleet)].into_iter().chain(entries).chain(known.unread.iter().cloned().map(Ok));
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for line in lines {
        part.extend(line?);
        part.push(b'\n');
        if part.len() >= PART_BYTES {
            parts.push(compress(checkpoint, parts.len(), &std::mem::take(&mut part))?);
        }
    }
    if !part.is_empty() {
        parts.push(compress(checkpoint, parts.len(), &part)?);
    }
    Ok(parts)
}

fn compress(checkpoint: Uuid, number: usize, lines: &[u8]) -> std::io::Result<Vec<u8>> {
    let number = u32::try_from(number).map_err(std::io::Error::other)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&serde_json::to_vec(&Header { checkpoint, number })?)?;
    encoder.write_all(b"\n")?;
    encoder.write_all(lines)?;
    encoder.finish()
}

fn part_message(topology: &Topology, body: Vec<u8>) -> Outgoing {
    let properties = properties(CHECKPOINT_PART_TYPE, &Uuid::now_v7().to_string());
    Outgoing {
        exchange: String::new(),
        routing_key: topology.register_stream(),
        properties: properties
            .with_content_type("application/x-ndjson".into())
            .with_content_encoding("gzip".into()),
        body,
        routing: Routing::Mandatory,
    }
}

/// Whether a line that cannot be read may be an entry that a newer program wrote.
pub(super) fn may_be_an_entry(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "kind")]
        _kind: String,
    }
    !line.contains(&b'\n') && serde_json::from_slice::<Kind>(line).is_ok()
}
