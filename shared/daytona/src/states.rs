//! The states of sandboxes and snapshots.
//!
//! Daytona adds states without notice. One that is not listed here is kept as it came and counts as "in
//! transition": waiting a little longer is harmless, while deleting or adopting on a guess is not.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString};

/// What a sandbox is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, AsRefStr, Display, EnumString)]
#[serde(from = "String", into = "String")]
#[strum(serialize_all = "snake_case")]
pub enum SandboxState {
    /// The row exists, nothing runs yet.
    Creating,
    /// Coming back from the archive.
    Restoring,
    /// Commands can be run in it.
    Started,
    /// Its processes are being started.
    Starting,
    /// Stopped, its disk kept.
    Stopped,
    /// Its processes are being ended.
    Stopping,
    /// It is being deleted, and nothing stops that.
    Destroying,
    /// Deleted; GET answers 404 from here on or soon.
    Destroyed,
    /// Failed for good, see `error_reason`.
    Error,
    /// Its image could not be built.
    BuildFailed,
    /// Waiting for its image to be built.
    PendingBuild,
    /// Its image is being built.
    BuildingSnapshot,
    /// The runner fetches the snapshot.
    PullingSnapshot,
    /// Going to the archive.
    Archiving,
    /// Its disk is in the archive.
    Archived,
    /// Its CPU, memory or disk is being changed.
    Resizing,
    /// Being captured as a snapshot; every other change answers 409.
    Snapshotting,
    /// A copy of it is being made.
    Forking,
    /// Its memory is being frozen.
    Pausing,
    /// Its memory is kept, and nothing runs.
    Paused,
    /// It is coming back from being paused.
    Resuming,
    /// Daytona does not know.
    Unknown,
    /// A state this client does not know.
    #[strum(default, transparent)]
    Other(String),
}

impl SandboxState {
    /// The state as Daytona writes it.
    pub fn as_str(&self) -> &str {
        self.as_ref()
    }
}

impl From<String> for SandboxState {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<SandboxState> for String {
    fn from(state: SandboxState) -> Self {
        state.as_str().to_owned()
    }
}

impl SandboxState {
    /// Whether it is on its way to another state: no decision may be taken on it yet.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Started
            | Self::Stopped
            | Self::Destroyed
            | Self::Error
            | Self::BuildFailed
            | Self::Archived
            | Self::Paused => false,
            Self::Creating
            | Self::Restoring
            | Self::Starting
            | Self::Stopping
            | Self::Destroying
            | Self::PendingBuild
            | Self::BuildingSnapshot
            | Self::PullingSnapshot
            | Self::Archiving
            | Self::Resizing
            | Self::Snapshotting
            | Self::Forking
            | Self::Pausing
            | Self::Resuming
            | Self::Unknown
            | Self::Other(_) => true,
        }
    }

    /// Whether it failed for good.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Error | Self::BuildFailed)
    }

    /// Whether it is deleted or will be, whatever happens.
    pub fn is_going(&self) -> bool {
        matches!(self, Self::Destroying | Self::Destroyed)
    }
}

/// What a snapshot is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, AsRefStr, Display, EnumString)]
#[serde(from = "String", into = "String")]
#[strum(serialize_all = "snake_case")]
pub enum SnapshotState {
    /// Its image is being built.
    Building,
    /// Waiting to be built or pulled.
    Pending,
    /// A runner fetches it.
    Pulling,
    /// Being captured from a sandbox.
    Snapshotting,
    /// Sandboxes can be made from it.
    Active,
    /// Put to sleep after a while without use (14 days, unless the organization says otherwise); creates fail. One captured
    /// from a sandbox can't be woken: activating it ends in `error`, for good.
    Inactive,
    /// Failed for good, see `error_reason`.
    Error,
    /// Its image could not be built.
    BuildFailed,
    /// Being deleted; its name is free only once the row is gone.
    Removing,
    /// A state this client does not know.
    #[strum(default, transparent)]
    Other(String),
}

impl SnapshotState {
    /// The state as Daytona writes it.
    pub fn as_str(&self) -> &str {
        self.as_ref()
    }
}

impl From<String> for SnapshotState {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<SnapshotState> for String {
    fn from(state: SnapshotState) -> Self {
        state.as_str().to_owned()
    }
}

impl SnapshotState {
    /// Whether it is on its way to another state.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Building
            | Self::Pending
            | Self::Pulling
            | Self::Snapshotting
            | Self::Removing
            | Self::Other(_) => true,
            Self::Active | Self::Inactive | Self::Error | Self::BuildFailed => false,
        }
    }

    /// Whether it failed for good.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Error | Self::BuildFailed)
    }

    /// Whether it counts against the snapshot quota.
    pub fn counts_in_quota(&self) -> bool {
        match self {
            Self::Building
            | Self::Pending
            | Self::Pulling
            | Self::Snapshotting
            | Self::Active
            | Self::Other(_) => true,
            Self::Inactive | Self::Error | Self::BuildFailed | Self::Removing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_written_as_it_was_read_known_or_not() {
        for text in ["started", "pulling_snapshot", "build_failed", "error", "state_of_next_year", ""] {
            let (sandbox, snapshot) = (SandboxState::from(text), SnapshotState::from(text));
            assert_eq!((sandbox.as_str(), snapshot.as_str()), (text, text));
            assert_eq!((sandbox.to_string(), String::from(snapshot)), (text.to_owned(), text.to_owned()));
        }
        assert_eq!(SandboxState::from("pulling_snapshot"), SandboxState::PullingSnapshot);
        assert_eq!(SnapshotState::from("started"), SnapshotState::Other("started".to_owned()));
    }
}
