//! The fleet's use as one process knows it: counted once per interval for all its builds, and kept current by what they take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use broker::Register;
use chrono::Utc;
use daytona::Client;
use job::FleetName;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::room::{Full, Purpose, is_any_believed, room_for};
use crate::section::QuotaSection;
use crate::used::{FleetUse, Size};

/// Why a build may not ask for a sandbox.
#[derive(Debug, Error)]
pub enum NotAdmitted {
    /// There is no room.
    #[error("{0}")]
    Full(Full),
    /// The fleet's sandboxes and snapshots could not be counted.
    #[error("the fleet's sandboxes and snapshots could not be counted")]
    Count(#[from] daytona::Error),
}

/// A sandbox that was asked for so recently may be missing from Daytona's list, which follows what is there.
const MAY_BE_UNLISTED: Duration = Duration::from_mins(1);

/// Lets builds in while there is room.
#[derive(Debug, Clone)]
pub struct Rooms {
    client: Client,
    fleet: FleetName,
    quota: QuotaSection,
    register: Register,
    counted: Arc<Mutex<Option<(FleetUse, Instant)>>>,
    own: Arc<SyncMutex<OwnBuilds>>,
}

/// This process's builds, for what the last count can't show.
#[derive(Debug, Default)]
struct OwnBuilds {
    next: u64,
    admitted: HashMap<u64, (Size, Instant)>,
    counted_at: Option<Instant>,
    /// What was given back since the count, and was in it.
    freed: FleetUse,
}

/// The room of one build, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    number: u64,
    own: Arc<SyncMutex<OwnBuilds>>,
}

impl Rooms {
    /// Rooms of this fleet; nothing is counted yet.
    pub fn new(client: Client, fleet: FleetName, quota: QuotaSection, register: Register) -> Self {
        Self { client, fleet, quota, register, counted: Arc::default(), own: Arc::default() }
    }

    /// Room in a sandbox of this size, if there is any.
    pub async fn admit(&self, size: Size, purpose: Purpose) -> Result<Admission, NotAdmitted> {
        let account = self.register.account();
        let now = Utc::now();
        // Where nobody knows of a limit, nothing has to be counted.
        if self.quota.tells_any() || is_any_believed(&account, now) {
            let mut counted = self.counted.lock().await;
            let used = self.fresh(&mut counted).await?.plus(lock(&self.own).change());
            room_for(size, purpose, &used, &self.quota, &account, now).map_err(NotAdmitted::Full)?;
            // Under the lock of the count: two builds of one process never take the last room.
            return Ok(self.take(size));
        }
        Ok(self.take(size))
    }

    /// The fleet's use as of now.
    pub(crate) async fn count(&self) -> Result<FleetUse, daytona::Error> {
        let mut counted = self.counted.lock().await;
        *counted = None;
        self.fresh(&mut counted).await
    }

    async fn fresh(&self, counted: &mut Option<(FleetUse, Instant)>) -> Result<FleetUse, daytona::Error> {
        if let Some((used, at)) = counted
            && at.elapsed() < self.quota.count
        {
            return Ok(*used);
        }
        let began = Instant::now();
        let used = FleetUse::count(&self.client, &self.fleet).await?;
        let mut own = lock(&self.own);
        own.counted_at = Some(began);
        own.freed = FleetUse::default();
        *counted = Some((used, began));
        Ok(used)
    }

    fn take(&self, size: Size) -> Admission {
        let number = lock(&self.own).admit(size, Instant::now());
        Admission { number, own: Arc::clone(&self.own) }
    }
}

impl OwnBuilds {
    fn admit(&mut self, size: Size, now: Instant) -> u64 {
        self.next += 1;
        self.admitted.insert(self.next, (size, now));
        self.next
    }

    fn leave(&mut self, number: u64) {
        if let Some((size, at)) = self.admitted.remove(&number)
            && !self.may_be_unlisted(at)
        {
            self.freed.remove(size);
        }
    }

    /// Whether the last count may lack a sandbox that was admitted then.
    fn may_be_unlisted(&self, admitted: Instant) -> bool {
        self.counted_at.is_none_or(|counted| admitted + MAY_BE_UNLISTED > counted)
    }

    /// What is to be added to the last count. A new sandbox that is listed already counts twice until the next one.
    fn change(&self) -> FleetUse {
        let mut change = self.freed;
        for (size, at) in self.admitted.values() {
            if self.may_be_unlisted(*at) {
                change.add(*size);
            }
        }
        change
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.own).leave(self.number);
    }
}

fn lock(own: &SyncMutex<OwnBuilds>) -> std::sync::MutexGuard<'_, OwnBuilds> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_lacks_new_sandboxes_is_made_good() {
        const SIZE: Size = Size { cpu: 2.0, memory_gb: 4.0, disk_gb: 10.0 };
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut own = OwnBuilds::default();
        let sandboxes = |own: &OwnBuilds| format!("{}", own.change().sandboxes);
        let (old, new) = (own.admit(SIZE, at(0)), own.admit(SIZE, at(90)));
        assert_eq!(sandboxes(&own), "2", "nothing was counted");
        own.counted_at = Some(at(100));
        assert_eq!(sandboxes(&own), "1", "the old one is listed, the new one may not be");
        own.leave(old);
        let mut gone = FleetUse::default();
        gone.remove(SIZE);
        assert_eq!(sandboxes(&own), "0", "listed, and given back");
        own.leave(new);
        assert_eq!(own.change(), gone, "it was never certain to be in the count");
    }
}
