//! Which snapshot cold builds start from: the one their job names while it is usable, else what the name means now.
//! Remembered for a minute.
//!
//! The id is part of every fingerprint, so a new base rebuilds every target. A base that is removed while jobs wait must
//! fail none of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use account::Size;
use daytona::{Client, Snapshot, SnapshotState};
use job::{Failure, FailureKind, Job, Stage};
use serde::Deserialize;
use tokio::time::Instant;

use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::failures::{from_base, from_call};

/// How long an answer of Daytona is believed.
const REMEMBERED: Duration = Duration::from_mins(1);

/// A section `[classes.NAME]` of the settings. Daytona sets the size when a snapshot is made, so a class is a base snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSection {
    /// Where cold builds of this class start; the target's own base snapshot when none.
    pub base_snapshot: Option<String>,
}

/// A snapshot that cold builds start from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Base {
    pub(crate) id: String,
    /// What a sandbox from it takes.
    pub(crate) size: Size,
}

impl From<&Snapshot> for Base {
    fn from(snapshot: &Snapshot) -> Self {
        Self { id: snapshot.id.to_string(), size: snapshot.into() }
    }
}

/// What a cold build is to start from.
struct WantedBase<'a> {
    /// The name, as settings have it.
    name: &'a str,
    /// The snapshot that whoever made the job found behind that name.
    id: Option<&'a str>,
}

/// Finds base snapshots, by the worker's classes and by what Daytona has.
#[derive(Debug)]
pub(crate) struct BaseSnapshots {
    client: Client,
    classes: BTreeMap<String, ClassSection>,
    /// Answers, by the name or id that was asked for.
    known: Mutex<HashMap<String, (Base, Instant)>>,
}

impl BaseSnapshots {
    pub(crate) fn new(client: Client, classes: BTreeMap<String, ClassSection>) -> Self {
        Self { client, classes, known: Mutex::default() }
    }

    /// The snapshot that a cold build of this job starts from.
    pub(crate) async fn find(&self, job: &Job) -> Result<Base, EarlyEnd> {
        let WantedBase { name, id } = self.wanted_by(job)?;
        let Some(id) = id else { return self.find_behind(name).await };
        if let Some(known) = self.recall(id) {
            return Ok(known);
        }
        let snapshot = self.read(id).await?;
        if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.state == SnapshotState::Active) {
            let base = Base { id: id.to_owned(), ..snapshot.into() };
            self.remember(id, &base);
            return Ok(base);
        }
        let instead = self.find_behind(name).await?;
        let state = snapshot.map_or_else(|| "gone".to_owned(), |snapshot| snapshot.state.to_string());
        tracing::warn!(
            base = name,
            id,
            state,
            instead = instead.id,
            "the base snapshot that the job names is not used"
        );
        self.remember(id, &instead);
        Ok(instead)
    }

    /// The base of the job's class, which the job's maker knows nothing of, or else the job's own.
    fn wanted_by<'a>(&'a self, job: &'a Job) -> Result<WantedBase<'a>, Failure> {
        let Job { settings, base_snapshot_id, .. } = job;
        let class = self.classes.get(&settings.class).ok_or_else(|| {
            Failure::new(
                FailureKind::ProvisionBaseMissing,
                format!(
                    "class `{}` is not in worker.toml: add [classes.{}], or correct fleet.toml",
                    settings.class, settings.class
                ),
            )
        })?;
        Ok(match &class.base_snapshot {
            Some(name) => WantedBase { name, id: None },
            None => WantedBase { name: &settings.base_snapshot, id: base_snapshot_id.as_deref() },
        })
    }

    /// What ends an attempt whose sandbox was not provisioned. When that is because the snapshot it was to start from is
    /// not usable any more, all that is remembered of it is forgotten, so that resolving again finds another base.
    pub(crate) async fn resolve_again_if_taken_away(&self, id: &str, end: EarlyEnd) -> EarlyEnd {
        let missing = end.failure().is_some_and(|failure| failure.id == FailureKind::ProvisionBaseMissing);
        if !missing {
            return end;
        }
        match self.read(id).await {
            Ok(Some(snapshot)) if snapshot.state != SnapshotState::Active => {}
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return end,
        }
        self.lock_known().retain(|_, (known, _)| known.id != id);
        ResolveAgain::BaseGone.into()
    }

    async fn find_behind(&self, name: &str) -> Result<Base, EarlyEnd> {
        if let Some(known) = self.recall(name) {
            return Ok(known);
        }
        let base = Base::from(&self.client.base_snapshot(name).await.map_err(|error| from_base(&error))?);
        self.remember(name, &base);
        Ok(base)
    }

    /// The snapshot, unless it is gone.
    async fn read(&self, id: &str) -> Result<Option<Snapshot>, EarlyEnd> {
        self.client.get_snapshot(id).await.map_err(|error| from_call(&error, Stage::Resolve))
    }

    fn recall(&self, asked: &str) -> Option<Base> {
        let known = self.lock_known().get(asked).cloned();
        known.filter(|(_, at)| at.elapsed() < REMEMBERED).map(|(base, _)| base)
    }

    fn remember(&self, asked: &str, base: &Base) {
        let mut known = self.lock_known();
        // Every roll-out brings ids that nobody asks for again.
        known.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
        known.insert(asked.to_owned(), (base.clone(), Instant::now()));
    }

    fn lock_known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Base, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
