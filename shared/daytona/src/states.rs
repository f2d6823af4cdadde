//! The states of sandboxes and snapshots.
//!
//! Daytona adds states without notice. One that is not listed here is kept as it came and counts as "in
//! transition": waiting a little longer is harmless, while deleting or adopting on a guess is not.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A state this client does not know.
            Other(String),
        }

        impl $name {
            /// The state as Daytona writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(state: $name) -> Self {
                state.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

states! {
    /// What a sandbox is doing.
    SandboxState {
        /// The row exists, nothing runs yet.
        Creating = "creating",
        /// Coming back from the archive.
        Restoring = "restoring",
        /// Usable.
        Started = "started",
        /// Booting.
        Starting = "starting",
        /// Stopped, its disk kept.
        Stopped = "stopped",
        /// Shutting down.
        Stopping = "stopping",
        /// Being deleted.
        Destroying = "destroying",
        /// Deleted; GET answers 404 from here on or soon.
        Destroyed = "destroyed",
        /// Failed for good, see `error_reason`.
        Error = "error",
        /// Its image could not be built.
        BuildFailed = "build_failed",
        /// Waiting for its image to be built.
        PendingBuild = "pending_build",
        /// Its image is being built.
        BuildingSnapshot = "building_snapshot",
        /// The runner fetches the snapshot.
        PullingSnapshot = "pulling_snapshot",
        /// Going to the archive.
        Archiving = "archiving",
        /// In the archive.
        Archived = "archived",
        /// Changing its resources.
        Resizing = "resizing",
        /// Being captured as a snapshot; every other change answers 409.
        Snapshotting = "snapshotting",
        /// Being forked.
        Forking = "forking",
        /// Going to sleep.
        Pausing = "pausing",
        /// Asleep.
        Paused = "paused",
        /// Waking.
        Resuming = "resuming",
        /// Daytona does not know.
        Unknown = "unknown",
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

states! {
    /// What a snapshot is doing.
    SnapshotState {
        /// Its image is being built.
        Building = "building",
        /// Waiting to be built or pulled.
        Pending = "pending",
        /// A runner fetches it.
        Pulling = "pulling",
        /// Being captured from a sandbox.
        Snapshotting = "snapshotting",
        /// Usable.
        Active = "active",
        /// Put to sleep after 14 days without use; creates fail until it is activated.
        Inactive = "inactive",
        /// Failed for good, see `error_reason`.
        Error = "error",
        /// Its image could not be built.
        BuildFailed = "build_failed",
        /// Being deleted; its name is free only once the row is gone.
        Removing = "removing",
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
