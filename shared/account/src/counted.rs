//! The fleet's use as one process knows it: counted once per interval for all its builds, and kept current by what they take.

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use broker::Register;
use chrono::Utc;
use daytona::Client;
use job::FleetName;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::room::{Full, room_for};
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

/// Lets builds in while there is room.
#[derive(Debug, Clone)]
pub struct Rooms {
    client: Client,
    fleet: FleetName,
    quota: QuotaSection,
    register: Register,
    counted: Arc<Mutex<Option<(FleetUse, Instant)>>>,
    /// What this process's builds took and gave back since.
    change: Arc<SyncMutex<FleetUse>>,
}

/// The room of one build, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    size: Size,
    change: Arc<SyncMutex<FleetUse>>,
}

impl Rooms {
    /// Rooms of this fleet; nothing is counted yet.
    pub fn new(client: Client, fleet: FleetName, quota: QuotaSection, register: Register) -> Self {
        let (counted, change) = (Arc::default(), Arc::default());
        Self { client, fleet, quota, register, counted, change }
    }

    /// Room for a build in a sandbox of this size, if there is any.
    pub async fn admit(&self, size: Size) -> Result<Admission, NotAdmitted> {
        let account = self.register.account();
        // Where nobody knows of a limit, nothing has to be counted.
        if self.quota.tells_any() || account.limits_met().next().is_some() {
            let mut counted = self.counted.lock().await;
            let used = self.fresh(&mut counted).await?.plus(*lock(&self.change));
            room_for(size, &used, &self.quota, &account, Utc::now()).map_err(NotAdmitted::Full)?;
            Ok(self.take(size))
        } else {
            Ok(self.take(size))
        }
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
        let before = *lock(&self.change);
        let used = FleetUse::count(&self.client, &self.fleet).await?;
        // What builds took or gave back before is in the count, or nearly so; what they did during it is kept.
        let mut change = lock(&self.change);
        *change = FleetUse {
            sandboxes: change.sandboxes - before.sandboxes,
            cpu: change.cpu - before.cpu,
            memory_gb: change.memory_gb - before.memory_gb,
            disk_gb: change.disk_gb - before.disk_gb,
            snapshots: 0.0,
        };
        *counted = Some((used, Instant::now()));
        Ok(used)
    }

    /// Under the lock of the count, where there is one: two builds never take the last room.
    fn take(&self, size: Size) -> Admission {
        lock(&self.change).add(size);
        Admission { size, change: Arc::clone(&self.change) }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.change).remove(self.size);
    }
}

fn lock(change: &SyncMutex<FleetUse>) -> std::sync::MutexGuard<'_, FleetUse> {
    change.lock().unwrap_or_else(PoisonError::into_inner)
}
