//! Checkpoints of the register: all that is known as of one place in its stream, written into the same stream as lines in
//! compressed parts, so that nothing ages out and nobody has to begin with the oldest entry.
//!
//! A short stream beside the register's says where the checkpoints begin. It only saves time: who begins with the oldest
//! entry comes by the last checkpoint too.

use std::time::Duration;

use chrono::Utc;
use job::RegisterEntry;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::state::Known;
use super::{Forget, Register, SyncError, part};
use crate::broker::Inner;
use crate::error::PublishError;
use crate::publish::{CHECKPOINT_PART_TYPE, CHECKPOINT_TYPE, Outgoing, Routing, properties};
use crate::stream::{Place, ReadFrom, Reader, StreamItem};
use crate::{Publisher, Topology};

/// How long a stream that holds something may take to send it. A fleet that has no checkpoint yet waits so long at a program's start.
const POINTER_PATIENCE: Duration = Duration::from_millis(500);

/// Why there is no new checkpoint. The one before stands.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The last checkpoint has what was not read here.
    #[error("the last checkpoint of the register was not read whole: another must not take its place")]
    KnowsLess,
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
        if self.shared.lock().knows_less_than_a_checkpoint() {
            return Err(CheckpointError::KnowsLess);
        }
        let id = Uuid::now_v7();
        let deadline = Instant::now() + patience;
        let (place, known) = self.begin_checkpoint(id, publisher, deadline, patience).await?;
        let targets = known.targets.len();
        let encoding = tokio::task::spawn_blocking(move || part::encode(id, known.lines()));
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
        publisher: &Publisher,
        deadline: Instant,
        patience: Duration,
    ) -> Result<(Place, Known), SyncError> {
        let (begun, beginning) = oneshot::channel();
        self.shared.lock().begun.insert(id, begun);
        let _forget = Forget { shared: &self.shared, forget: |state| drop(state.begun.remove(&id)) };
        Self::publish_over(publisher, deadline, patience, &RegisterEntry::CheckpointBegins { id }).await?;
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
                StreamItem::Missed | StreamItem::Restarted => {}
            }
        }
        None
    };
    tokio::select! {
        () = reader.run() => None,
        found = timeout(POINTER_PATIENCE, found) => found.ok().flatten(),
    }
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
