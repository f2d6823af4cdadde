//! The ledger, read: what happened, in order, from any time of the week it is kept, to now or on and on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use job::LedgerEntry;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::Broker;
use crate::error::PublishError;
use crate::publish::{MARK_TYPE, Outgoing};
use crate::stream::{ReadFrom, Reader, StreamItem};

/// A stream of ledger entries. What cannot be read is skipped and counted.
pub struct Ledger {
    items: mpsc::Receiver<StreamItem>,
    until: Option<String>,
    undecodable: u64,
    _task: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("undecodable", &self.undecodable).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Reads on and on, through lost connections; ends when the broker handle is closed.
    pub fn follow(broker: &Broker, from: ReadFrom) -> Self {
        let inner = &broker.inner;
        let stream = inner.topology.ledger_stream();
        let (reader, items) = Reader::new(inner.stream.clone(), stream, from, inner.stop.clone());
        let task = AbortOnDropHandle::new(inner.tasks.spawn(reader.run()));
        Self { items, until: None, undecodable: 0, _task: task }
    }

    /// Reads what is there, and ends.
    pub async fn until_now(broker: &Broker, from: ReadFrom) -> Result<Self, PublishError> {
        // Without anything to read, a stream says nothing at all; a mark of our own tells where its end is.
        let id = Uuid::now_v7().to_string();
        let mut mark = Outgoing::entry(broker.topology().ledger_stream(), MARK_TYPE, &())?;
        mark.properties = mark.properties.with_message_id(id.as_str().into());
        let mut ledger = Self::follow(broker, from);
        broker.inner.publisher.publish(&mark).await?;
        ledger.until = Some(id);
        Ok(ledger)
    }

    /// The next entry; none at the end.
    pub async fn next(&mut self) -> Option<LedgerEntry> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// How many entries could not be read so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

impl Stream for Ledger {
    type Item = LedgerEntry;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LedgerEntry>> {
        loop {
            let entry = match ready!(self.items.poll_recv(context)) {
                None => return Poll::Ready(None),
                Some(StreamItem::Missed | StreamItem::Restarted) => continue,
                Some(StreamItem::Entry(entry)) => entry,
            };
            if entry.kind == MARK_TYPE {
                if self.until.as_ref() == Some(&entry.message_id) {
                    self.items.close();
                    return Poll::Ready(None);
                }
                continue;
            }
            match serde_json::from_slice(&entry.body) {
                Ok(entry) => return Poll::Ready(Some(entry)),
                Err(error) => {
                    self.undecodable += 1;
                    tracing::debug!(%error, offset = entry.offset, "an entry of the ledger cannot be read");
                }
            }
        }
    }
}
