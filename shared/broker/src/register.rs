//! The register: every target and the fleet, folded from the stream and kept current, and how it is written to.
//!
//! Invariant: what [`Register::get`] answers after [`Register::sync`] includes everything that was confirmed before it.
//! Nobody writes the state of a target: only entries about one concern of it, whose versions this gives out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backoff::jittered;
use job::{
    AccountState, Concern, EntryFormat, EntryVersion, FleetState, Folded, RegisterEntry, Target, TargetEntry,
    TargetState, Writing,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::state::State;
use crate::broker::Inner;
use crate::error::PublishError;
use crate::stream::{ReadFrom, Reader, StreamItem};
use crate::{Broker, Publisher};

mod checkpoint;
mod part;
mod state;

pub use self::checkpoint::{CheckpointError, CheckpointWritten};
pub use self::state::CheckpointStatus;

/// Why a register is not known to be current, or to have taken an entry.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The mark or the entry could not be published.
    #[error("nothing could be published to the register")]
    Publish(#[from] PublishError),
    /// It did not come back in time.
    #[error("the register was not current within {0:?}")]
    TooSlow(Duration),
}

/// How long a stream that is not there is left to come back before it is asked again.
const REPUBLISH_PAUSE: Duration = Duration::from_millis(250);

/// The current state of every target and of the fleet. Clones share it.
#[derive(Clone)]
pub struct Register {
    shared: Arc<Shared>,
    publisher: Publisher,
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

struct Shared {
    state: Mutex<State>,
    /// Raised with every change, for those who wait for one.
    version: watch::Sender<u64>,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register")
            .field("targets", &self.shared.lock().known.targets.len())
            .finish_non_exhaustive()
    }
}

impl Register {
    /// Begins to read the register. It is empty at first: [`Self::sync`] before relying on it.
    pub fn follow(broker: &Broker) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), version: watch::Sender::new(0) });
        let inner = &broker.inner;
        let stream = inner.topology.register_stream();
        let (reader, items) = Reader::new(inner.stream.clone(), stream, ReadFrom::First, inner.stop.clone());
        let folding = fold(shared.clone(), items);
        let reading = read_from_checkpoint(Arc::downgrade(inner), reader);
        let tasks = [inner.tasks.spawn(reading), inner.tasks.spawn(folding)].map(AbortOnDropHandle::new);
        Self { shared, publisher: broker.publisher(), _tasks: Arc::new(tasks) }
    }

    /// Waits until everything that was published before this call is seen, at most `patience`.
    pub async fn sync(&self, patience: Duration) -> Result<(), SyncError> {
        let deadline = Instant::now() + patience;
        let id = Uuid::now_v7();
        let (mark_seen, mark_back) = oneshot::channel();
        self.shared.lock().marks.insert(id, mark_seen);
        let _forget = Forget { shared: &self.shared, forget: |state| drop(state.marks.remove(&id)) };
        self.publish_until(deadline, patience, &RegisterEntry::Mark { id }).await?;
        match timeout_at(deadline, mark_back).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(SyncError::TooSlow(patience)),
        }
    }

    /// Publishes an entry, and waits until it has come back: what became of it is the same for every reader.
    pub async fn append(
        &self,
        target: &Target,
        about: Concern,
        patience: Duration,
    ) -> Result<Folded, SyncError> {
        let deadline = Instant::now() + patience;
        let (version, entry) = self.entry(target, about);
        let (folded, outcome) = oneshot::channel();
        self.shared.lock().appended.insert(version, folded);
        let _forget = Forget { shared: &self.shared, forget: |state| drop(state.appended.remove(&version)) };
        self.publish_until(deadline, patience, &entry).await?;
        match timeout_at(deadline, outcome).await {
            Ok(Ok(folded)) => Ok(folded),
            Ok(Err(_)) | Err(_) => Err(SyncError::TooSlow(patience)),
        }
    }

    /// Publishes an entry, confirmed, without waiting for it to come back.
    pub async fn note(&self, target: &Target, about: Concern) -> Result<(), PublishError> {
        let (_, entry) = self.entry(target, about);
        self.put(&entry).await
    }

    /// An entry that comes after everything seen of the target, and everything written before.
    fn entry(&self, target: &Target, about: Concern) -> (EntryVersion, RegisterEntry) {
        let version = self.shared.lock().next_version(target.key());
        let (target, format) = (target.clone(), EntryFormat::PerConcern);
        let entry = TargetEntry { format, target, version, writing: Writing::First, about };
        (version, RegisterEntry::Concern(Box::new(entry)))
    }

    /// Publishes a mark or an entry. It may be there although the broker did not say so, and a second one does no harm.
    async fn publish_until(
        &self,
        deadline: Instant,
        patience: Duration,
        entry: &RegisterEntry,
    ) -> Result<(), SyncError> {
        Self::publish_over(&self.publisher, deadline, patience, entry).await
    }

    async fn publish_over(
        publisher: &Publisher,
        deadline: Instant,
        patience: Duration,
        entry: &RegisterEntry,
    ) -> Result<(), SyncError> {
        loop {
            match timeout_at(deadline, publisher.publish_register(entry)).await {
                Ok(Ok(()) | Err(PublishError::Unknown(_))) => return Ok(()),
                Ok(Err(PublishError::Disconnected)) if Instant::now() < deadline => {}
                // A node that has just started takes publishes before its streams are back.
                Ok(Err(PublishError::Unroutable { .. })) if Instant::now() + REPUBLISH_PAUSE < deadline => {
                    sleep(jittered(REPUBLISH_PAUSE)).await;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_elapsed) => return Err(SyncError::TooSlow(patience)),
            }
        }
    }

    /// What is known of a target.
    pub fn get(&self, target: &Target) -> Option<Arc<TargetState>> {
        self.shared.lock().known.target(target)
    }

    /// The state of the fleet.
    pub fn fleet(&self) -> FleetState {
        self.shared.lock().known.fleet.clone()
    }

    /// What is known of the fleet's account at Daytona.
    pub fn account(&self) -> AccountState {
        self.shared.lock().known.account.clone()
    }

    /// How many targets something is known of.
    pub fn target_count(&self) -> usize {
        self.shared.lock().known.targets.len()
    }

    /// What is known of every target, as of now, in the order of their keys.
    pub fn targets(&self) -> Vec<Arc<TargetState>> {
        let mut targets: Vec<_> =
            self.shared.lock().known.targets.values().map(|fold| Arc::new(fold.state())).collect();
        targets.sort_unstable_by_key(|state| state.target.key());
        targets
    }

    /// Publishes an entry as it is, confirmed. It is visible here once it has come back.
    pub async fn put(&self, entry: &RegisterEntry) -> Result<(), PublishError> {
        self.publisher.publish_register(entry).await
    }

    /// Changes with every entry that is seen.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// How many promotions were taken since this began to read.
    pub fn promotions(&self) -> u64 {
        self.shared.lock().promotions
    }

    /// Entries that could not be read: a newer version wrote them.
    pub fn undecodable(&self) -> u64 {
        self.shared.lock().known.undecodable
    }

    /// When the last checkpoint was written, and how much came since.
    pub fn checkpoint_status(&self) -> CheckpointStatus {
        self.shared.lock().checkpoint
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what is waited for once nobody waits.
struct Forget<'a, F: Fn(&mut State)> {
    shared: &'a Shared,
    forget: F,
}

impl<F: Fn(&mut State)> Drop for Forget<'_, F> {
    fn drop(&mut self) {
        (self.forget)(&mut self.shared.lock());
    }
}

/// Begins with the last checkpoint, where it is known.
async fn read_from_checkpoint(inner: Weak<Inner>, reader: Reader) {
    let found = match inner.upgrade() {
        Some(inner) => checkpoint::find_newest(&inner).await,
        None => return,
    };
    let reader = match found {
        Some(place) => reader.begin_at(place),
        None => reader,
    };
    reader.run().await;
}

async fn fold(shared: Arc<Shared>, mut items: mpsc::Receiver<StreamItem>) {
    while let Some(item) = items.recv().await {
        match item {
            StreamItem::Entry(entry) => shared.lock().take(entry),
            StreamItem::Missed => shared.lock().miss_entries(),
            StreamItem::Restarted => shared.lock().forget(),
        }
        shared.version.send_modify(|version| *version += 1);
    }
}
