//! The wire message: one job. JSON, versioned; unknown fields are ignored, so that one version's producer and another's
//! worker understand each other while a deployment rolls.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use thiserror::Error;

use crate::{FleetName, JobId, Settings, Target, Tick};

/// The version written now, and the newest that can be read.
pub const JOB_VERSION: u32 = 1;

/// The largest message taken for a job.
pub const MAX_JOB_BYTES: usize = 256 * 1024;

/// Bring one target up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The [`JOB_VERSION`] of the program that wrote it.
    pub version: u32,
    /// The job's id, also that of its message.
    pub id: JobId,
    /// The fleet whose workers may take it.
    pub fleet: FleetName,
    /// The repository and branch to build.
    pub target: Target,
    /// Why it was made, which decides whether it waits for others.
    pub reason: Reason,
    /// How to build it: all that fleet.toml says of the target.
    pub settings: Settings,
    /// The snapshot that `settings.base_snapshot` meant when the job was made, so that one tick builds from one base. None
    /// where nobody could find it out; the worker then does, and again when this one is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_snapshot_id: Option<String>,
    /// Whether an earlier permanent failure of the same commit is tried again.
    #[serde(default)]
    pub forced: bool,
}

/// Why a job exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// The schedule fired, and this target was due.
    Scheduled {
        /// The tick that it belongs to.
        tick: Tick,
    },
    /// Somebody asked for it with `harvestctl submit`.
    OnDemand,
    /// An operator took it from the dead-letter queue.
    Replay,
}

impl Reason {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why bytes are no job.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobDecodeError {
    /// Longer than any job.
    #[error("the message has {0} bytes; a job has at most {MAX_JOB_BYTES}")]
    TooLarge(usize),
    /// Written by a newer version.
    #[error(
        "the message is version {0}; this worker reads up to {JOB_VERSION}: upgrade the workers, then replay it"
    )]
    FutureVersion(u64),
    /// Not JSON, or not a job.
    #[error("the message is not a job")]
    Json(#[source] serde_json::Error),
    /// Meant for another fleet.
    #[error("the message belongs to fleet `{found}`, this worker to `{expected}`")]
    OtherFleet {
        /// Whose it says it is.
        found: FleetName,
        /// The fleet of the reader.
        expected: FleetName,
    },
}

impl Job {
    /// The job of one target at this tick. Its id follows from fleet, tick and target, so that whatever is published twice
    /// is built once.
    pub fn scheduled(
        fleet: &FleetName,
        tick: Tick,
        target: &Target,
        settings: &Settings,
        base_snapshot_id: Option<String>,
    ) -> Self {
        Self {
            version: JOB_VERSION,
            id: JobId::scheduled(fleet, tick, target),
            fleet: fleet.clone(),
            target: target.clone(),
            reason: Reason::Scheduled { tick },
            settings: settings.clone(),
            base_snapshot_id,
            forced: false,
        }
    }

    /// A job that somebody asked for, under an id of its own. What failed for good at the same commit is not tried again.
    pub fn on_demand(
        fleet: &FleetName,
        target: &Target,
        settings: &Settings,
        base_snapshot_id: Option<String>,
    ) -> Self {
        Self {
            version: JOB_VERSION,
            id: JobId::on_demand(),
            fleet: fleet.clone(),
            target: target.clone(),
            reason: Reason::OnDemand,
            settings: settings.clone(),
            base_snapshot_id,
            forced: false,
        }
    }

    /// The same job once more, with these settings: under its own id, and past an earlier permanent failure.
    #[must_use]
    pub fn replay_with(self, settings: Settings, base_snapshot_id: Option<String>) -> Self {
        Self { reason: Reason::Replay, settings, base_snapshot_id, forced: true, ..self }
    }

    /// The bytes to publish.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("a job has only string keys: {error}"))
    }

    /// A job of this fleet from its bytes.
    pub fn decode(bytes: &[u8], fleet: &FleetName) -> Result<Self, JobDecodeError> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }

        if bytes.len() > MAX_JOB_BYTES {
            return Err(JobDecodeError::TooLarge(bytes.len()));
        }
        // The version alone: a newer message need not read as a job of this version.
        let Version { version } = serde_json::from_slice(bytes).map_err(JobDecodeError::Json)?;
        if version > u64::from(JOB_VERSION) {
            return Err(JobDecodeError::FutureVersion(version));
        }
        let job: Self = serde_json::from_slice(bytes).map_err(JobDecodeError::Json)?;
        if job.fleet != *fleet {
            return Err(JobDecodeError::OtherFleet { found: job.fleet, expected: fleet.clone() });
        }
        Ok(job)
    }
}

#[cfg(test)]
pub(crate) mod tests;
