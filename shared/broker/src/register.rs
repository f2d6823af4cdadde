//! The register, read: the newest entry of every target and of the fleet, folded from the stream and kept current.
//!
//! Invariant: what [`Register::get`] answers after [`Register::sync`] includes everything that was confirmed before it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backoff::jittered;
use job::{FleetState, RegisterEntry, RegisterKey, Target, TargetState};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::error::PublishError;
use crate::stream::{ReadFrom, Reader, StreamItem};
use crate::{Broker, Publisher};

/// Why a register is not known to be current.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The mark could not be published.
    #[error("the register could not be asked")]
    Publish(#[from] PublishError),
    /// The mark did not come back in time.
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

#[derive(Default)]
struct State {
    targets: HashMap<String, Arc<TargetState>>,
    fleet: FleetState,
    marks: HashMap<Uuid, oneshot::Sender<()>>,
    undecodable: u64,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register").field("targets", &self.shared.lock().targets.len()).finish_non_exhaustive()
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
        let tasks = [inner.tasks.spawn(reader.run()), inner.tasks.spawn(folding)].map(AbortOnDropHandle::new);
        Self { shared, publisher: broker.publisher(), _tasks: Arc::new(tasks) }
    }

    /// Waits until everything that was published before this call is seen, at most `patience`.
    pub async fn sync(&self, patience: Duration) -> Result<(), SyncError> {
        let deadline = Instant::now() + patience;
        let id = Uuid::now_v7();
        let (mark_seen, mark_back) = oneshot::channel();
        self.shared.lock().marks.insert(id, mark_seen);
        let _forget = ForgetMark { shared: &self.shared, id };
        loop {
            let entry = RegisterEntry::Mark { id };
            let published = timeout_at(deadline, self.publisher.publish_register(&entry)).await;
            match published {
                // It may be there all the same, and a second mark does no harm.
                Ok(Ok(()) | Err(PublishError::Unknown(_))) => break,
                Ok(Err(PublishError::Disconnected)) if Instant::now() < deadline => {}
                // A node that has just started takes publishes before its streams are back.
                Ok(Err(PublishError::Unroutable { .. })) if Instant::now() + REPUBLISH_PAUSE < deadline => {
                    sleep(jittered(REPUBLISH_PAUSE)).await;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_elapsed) => return Err(SyncError::TooSlow(patience)),
            }
        }
        match timeout_at(deadline, mark_back).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(SyncError::TooSlow(patience)),
        }
    }

    /// What is known of a target.
    pub fn get(&self, target: &Target) -> Option<Arc<TargetState>> {
        self.shared.lock().targets.get(&target.key()).cloned()
    }

    /// The state of the fleet.
    pub fn fleet(&self) -> FleetState {
        self.shared.lock().fleet.clone()
    }

    /// What is known of every target, as of now, in the order of their keys.
    pub fn targets(&self) -> Vec<Arc<TargetState>> {
        let mut targets: Vec<_> = self.shared.lock().targets.values().cloned().collect();
        targets.sort_unstable_by_key(|state| state.target.key());
        targets
    }

    /// Publishes an entry, confirmed. It is visible here once it has come back.
    pub async fn put(&self, entry: &RegisterEntry) -> Result<(), PublishError> {
        self.publisher.publish_register(entry).await
    }

    /// Changes with every entry that is seen.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Entries that could not be read: a newer version wrote them.
    pub fn undecodable(&self) -> u64 {
        self.shared.lock().undecodable
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ForgetMark<'a> {
    shared: &'a Shared,
    id: Uuid,
}

impl Drop for ForgetMark<'_> {
    fn drop(&mut self) {
        self.shared.lock().marks.remove(&self.id);
    }
}

async fn fold(shared: Arc<Shared>, mut items: mpsc::Receiver<StreamItem>) {
    while let Some(item) = items.recv().await {
        match item {
            StreamItem::Entry(entry) => shared.lock().apply(&entry.body),
            StreamItem::Restarted => shared.lock().forget(),
        }
        shared.version.send_modify(|version| *version += 1);
    }
}

impl State {
    fn apply(&mut self, body: &[u8]) {
        let entry: RegisterEntry = match serde_json::from_slice(body) {
            Ok(entry) => entry,
            Err(error) => {
                self.undecodable += 1;
                tracing::debug!(%error, "an entry of the register cannot be read");
                return;
            }
        };
        match (entry.key(), entry) {
            (RegisterKey::Target(key), RegisterEntry::Target(state)) => {
                self.targets.insert(key, Arc::new(*state));
            }
            (_, RegisterEntry::Fleet(fleet)) => self.fleet = fleet,
            (_, RegisterEntry::Mark { id }) => self.complete_mark(id),
            (RegisterKey::Fleet | RegisterKey::Mark(_), RegisterEntry::Target(_)) => {
                unreachable!("a target's entry has a target's key")
            }
        }
    }

    fn complete_mark(&mut self, id: Uuid) {
        if let Some(mark) = self.marks.remove(&id)
            && mark.send(()).is_err()
        {
            tracing::trace!("nobody waits for this mark any more");
        }
    }

    fn forget(&mut self) {
        self.targets.clear();
        self.fleet = FleetState::default();
    }
}
