//! What this worker tells the ledger, beside its work: bounded, in order, and never in the way.
//!
//! What changed nothing is gathered and told once a minute, so that ten thousand unchanged targets are one entry.

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

/// Where the parts of a worker tell their story. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    by: String,
    entries: mpsc::Sender<Told>,
}

#[derive(Debug)]
enum Told {
    Entry(Box<LedgerEntry>),
    NoOp(NoOp),
}

/// Writes the story; to be run until everything is told.
#[derive(Debug)]
pub(crate) struct Scribe {
    by: String,
    gather: Duration,
    entries: mpsc::Receiver<Told>,
}

/// A story and its scribe, who gathers what changed nothing for so long.
pub(crate) fn open(by: &str, gather: Duration) -> (Story, Scribe) {
    let (sender, entries) = mpsc::channel(BUFFER);
    (Story { by: by.to_owned(), entries: sender }, Scribe { by: by.to_owned(), gather, entries })
}

impl Story {
    /// Tells of something that happened now, in the current trace.
    pub(crate) fn tell(&self, event: LedgerEvent) {
        let entry = LedgerEntry::new(Utc::now(), &self.by, event).in_trace(telemetry::current_trace_id());
        self.offer(Told::Entry(Box::new(entry)));
    }

    /// Tells of a job that changed nothing, when it is convenient.
    pub(crate) fn tell_no_op(&self, no_op: NoOp) {
        self.offer(Told::NoOp(no_op));
    }

    fn offer(&self, told: Told) {
        if self.entries.try_send(told).is_err() {
            tracing::warn!("a ledger entry was dropped: the broker takes none and {BUFFER} are waiting");
        }
    }
}

impl Scribe {
    /// Writes until `done` is cancelled and nothing is left, or the broker is gone.
    pub(crate) async fn run(mut self, publisher: Publisher, done: CancellationToken) {
        let mut gathered: Vec<NoOp> = Vec::new();
        let mut minute = tokio::time::interval(self.gather);
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                told = self.entries.recv() => match told {
                    Some(Told::Entry(entry)) => write(&publisher, &entry).await,
                    Some(Told::NoOp(no_op)) => {
                        gathered.push(no_op);
                        if gathered.len() >= GATHERED_AT_MOST {
                            self.write_gathered(&publisher, &mut gathered).await;
                        }
                    }
                    None => break,
                },
                _ = minute.tick() => self.write_gathered(&publisher, &mut gathered).await,
                () = done.cancelled() => break,
            }
        }
        self.write_gathered(&publisher, &mut gathered).await;
    }

    async fn write_gathered(&self, publisher: &Publisher, gathered: &mut Vec<NoOp>) {
        if gathered.is_empty() {
            return;
        }
        let event = LedgerEvent::NoOps { jobs: std::mem::take(gathered) };
        write(publisher, &LedgerEntry::new(Utc::now(), &self.by, event)).await;
    }
}

async fn write(publisher: &Publisher, entry: &LedgerEntry) {
    if let Err(error) = publisher.publish_ledger(entry).await {
        tracing::warn!(error = error_chain::line(&error), "a ledger entry was lost");
    }
}
