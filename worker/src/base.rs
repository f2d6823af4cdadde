//! Which snapshot cold builds start from: its id by its name, remembered for a minute.
//!
//! The id is part of every fingerprint, so a new base snapshot of the same name rebuilds every target.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daytona::{Client, SnapshotState};
use job::{Failure, FailureKind, Stage};
use tokio::time::Instant;

use crate::attempt::Ended;
use crate::failures::from_call;

const REMEMBERED: Duration = Duration::from_mins(1);

/// Looks base snapshots up.
#[derive(Debug)]
pub(crate) struct BaseSnapshots {
    client: Client,
    known: Mutex<HashMap<String, (String, Instant)>>,
}

impl BaseSnapshots {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The id of the snapshot with this name (or id).
    pub(crate) async fn id_of(&self, name: &str) -> Result<String, Ended> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((id, _)) = known.filter(|(_, at)| at.elapsed() < REMEMBERED) {
            return Ok(id);
        }
        let snapshot =
            self.client.get_snapshot(name).await.map_err(|error| from_call(&error, Stage::Resolve))?;
        let missing = |what: String| {
            Failure::new(
                FailureKind::ProvisionBaseMissing,
                format!("base snapshot `{name}` {what}; check `base_snapshot` in fleet.toml"),
            )
            .at(Stage::Resolve)
            // One base serves every target: its absence must not empty the fleet into the dead-letter queue.
            .touching(job::Scope::Daytona)
        };
        let snapshot = snapshot.ok_or_else(|| missing("does not exist".to_owned()))?;
        if snapshot.state != SnapshotState::Active {
            return Err(missing(format!("is {}", snapshot.state)).into());
        }
        let id = snapshot.id.to_string();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), (id.clone(), Instant::now()));
        Ok(id)
    }
}
