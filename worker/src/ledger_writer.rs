//! Writes to the ledger beside the worker's work: bounded, in order, and never in the way.
//!
//! What changed nothing is gathered and written once a minute, so that ten thousand unchanged targets are one entry.

use std::time::Duration;

use broker::Publisher;
use chrono::Utc;
use job::{LedgerEntry, LedgerEvent, NoOp};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The section `[ledger]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSection {
    /// How often the outcomes that changed nothing are written, in one entry.
    #[serde(with = "humantime_serde")]
    pub batch: Duration,
}

/// How many entries wait for the broker before new ones are dropped (and counted).
const BUFFER: usize = 4096;
const GATHERED_AT_MOST: usize = 1000;

/// Where the parts of a worker leave their entries. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LedgerWriter {
    by: String,
    waiting: mpsc::Sender<Waiting>,
}

/// What waits to be written.
#[derive(Debug)]
enum Waiting {
    Entry(Box<LedgerEntry>),
    NoOp(NoOp),
}

/// Publishes what waits; to be run until all of it is written.
#[derive(Debug)]
pub(crate) struct LedgerFlusher {
    by: String,
    gather: Duration,
    waiting: mpsc::Receiver<Waiting>,
}

/// A writer and the flusher behind it, who gathers what changed nothing for so long.
pub(crate) fn open(by: &str, gather: Duration) -> (LedgerWriter, LedgerFlusher) {
    let (sender, waiting) = mpsc::channel(BUFFER);
    (
        LedgerWriter { by: by.to_owned(), waiting: sender },
        LedgerFlusher { by: by.to_owned(), gather, waiting },
    )
}

impl LedgerWriter {
    /// Writes what happened now, in the current trace.
    pub(crate) fn write(&self, event: LedgerEvent) {
        let entry = LedgerEntry::new(Utc::now(), &self.by, event).in_trace(telemetry::current_trace_id());
        self.offer(Waiting::Entry(Box::new(entry)));
    }

    /// Writes of a job that changed nothing, when it is convenient.
    pub(crate) fn write_no_op(&self, no_op: NoOp) {
        self.offer(Waiting::NoOp(no_op));
    }

    fn offer(&self, waiting: Waiting) {
        if self.waiting.try_send(waiting).is_err() {
            tracing::warn!("a ledger entry was dropped: the broker takes none and {BUFFER} are waiting");
        }
    }
}

impl LedgerFlusher {
    /// Publishes until `done` is cancelled and nothing is left, or the broker is gone.
    pub(crate) async fn run(mut self, publisher: Publisher, done: CancellationToken) {
        let mut gathered: Vec<NoOp> = Vec::new();
        let mut minute = tokio::time::interval(self.gather);
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                waiting = self.waiting.recv() => match waiting {
                    Some(Waiting::Entry(entry)) => publish(&publisher, &entry).await,
                    Some(Waiting::NoOp(no_op)) => {
                        gathered.push(no_op);
                        if gathered.len() >= GATHERED_AT_MOST {
                            self.publish_gathered(&publisher, &mut gathered).await;
                        }
                    }
                    None => break,
                },
                _ = minute.tick() => self.publish_gathered(&publisher, &mut gathered).await,
                () = done.cancelled() => break,
            }
        }
        self.publish_gathered(&publisher, &mut gathered).await;
    }

    async fn publish_gathered(&self, publisher: &Publisher, gathered: &mut Vec<NoOp>) {
        if gathered.is_empty() {
            return;
        }
        let event = LedgerEvent::NoOps { jobs: std::mem::take(gathered) };
        publish(publisher, &LedgerEntry::new(Utc::now(), &self.by, event)).await;
    }
}

async fn publish(publisher: &Publisher, entry: &LedgerEntry) {
    if let Err(error) = publisher.publish_ledger(entry).await {
        tracing::warn!(error = error_chain::line(&error), "a ledger entry was lost");
    }
}
