//! How much of the organization's room the fleet uses, counted by what it has there.

use daytona::{Client, Sandbox, SandboxState, Snapshot, SnapshotState};
use job::{FleetName, Resource, SandboxName};
use lease::fleet_label;

/// What one sandbox takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Size {
    /// How many vCPUs it has.
    pub cpu: f64,
    /// How much memory, GiB.
    pub memory_gb: f64,
    /// How much disk, GiB.
    pub disk_gb: f64,
}

impl Size {
    pub(crate) fn of(self, resource: Resource) -> f64 {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory_gb,
            Resource::Disk => self.disk_gb,
            Resource::Snapshots => 1.0,
        }
    }
}

impl From<&Snapshot> for Size {
    /// What a sandbox that is made from it takes.
    fn from(snapshot: &Snapshot) -> Self {
        Self { cpu: snapshot.cpu, memory_gb: snapshot.mem, disk_gb: snapshot.disk }
    }
}

/// What the fleet has in Daytona. Others of the same organization may have more: nobody tells an API key.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FleetUse {
    /// How many sandboxes it has.
    pub sandboxes: f64,
    /// The vCPUs that they have together.
    pub cpu: f64,
    /// The memory that they have together, GiB.
    pub memory_gb: f64,
    /// The disk that they have together, GiB.
    pub disk_gb: f64,
    /// Its snapshots that are not asleep.
    pub snapshots: f64,
}

impl FleetUse {
    /// Asks Daytona for the fleet's sandboxes and snapshots, and counts them.
    pub async fn count(client: &Client, fleet: &FleetName) -> Result<Self, daytona::Error> {
        let sandboxes = client.list_sandboxes(&fleet_label(fleet)).await?;
        let snapshots = client.list_snapshots(&SandboxName::fleet_prefix(fleet)).await?;
        Ok(Self::of(&sandboxes, &snapshots))
    }

    fn of(sandboxes: &[Sandbox], snapshots: &[Snapshot]) -> Self {
        let mut used = Self::default();
        for sandbox in sandboxes {
            used.add_in_state(
                &sandbox.state,
                Size { cpu: sandbox.cpu, memory_gb: sandbox.memory, disk_gb: sandbox.disk },
            );
        }
        let counted = snapshots.iter().filter(|snapshot| counts(&snapshot.state)).count();
        used.snapshots = f64::from(u32::try_from(counted).unwrap_or(u32::MAX));
        used
    }

    /// What a sandbox counts for: one that goes or failed for nothing, a stopped one for its disk.
    fn add_in_state(&mut self, state: &SandboxState, size: Size) {
        match state {
            SandboxState::Destroying
            | SandboxState::Destroyed
            | SandboxState::Error
            | SandboxState::BuildFailed
            | SandboxState::Archived => {}
            SandboxState::Stopped | SandboxState::Paused => {
                self.add(Size { cpu: 0.0, memory_gb: 0.0, ..size });
            }
            SandboxState::Creating
            | SandboxState::Restoring
            | SandboxState::Started
            | SandboxState::Starting
            | SandboxState::Stopping
            | SandboxState::PendingBuild
            | SandboxState::BuildingSnapshot
            | SandboxState::PullingSnapshot
            | SandboxState::Archiving
            | SandboxState::Resizing
            | SandboxState::Snapshotting
            | SandboxState::Forking
            | SandboxState::Pausing
            | SandboxState::Resuming
            | SandboxState::Unknown
            | SandboxState::Other(_) => self.add(size),
        }
    }

    pub(crate) fn of_resource(&self, resource: Resource) -> f64 {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory_gb,
            Resource::Disk => self.disk_gb,
            Resource::Snapshots => self.snapshots,
        }
    }

    pub(crate) fn add(&mut self, size: Size) {
        self.add_times(size, 1.0);
    }

    pub(crate) fn remove(&mut self, size: Size) {
        self.add_times(size, -1.0);
    }

    fn add_times(&mut self, size: Size, times: f64) {
        self.sandboxes += times;
        self.cpu += times * size.cpu;
        self.memory_gb += times * size.memory_gb;
        self.disk_gb += times * size.disk_gb;
    }

    /// Both together; never less than nothing, as what was freed may have been counted no more already.
    pub(crate) fn plus(self, change: Self) -> Self {
        Self {
            sandboxes: (self.sandboxes + change.sandboxes).max(0.0),
            cpu: (self.cpu + change.cpu).max(0.0),
            memory_gb: (self.memory_gb + change.memory_gb).max(0.0),
            disk_gb: (self.disk_gb + change.disk_gb).max(0.0),
            snapshots: (self.snapshots + change.snapshots).max(0.0),
        }
    }
}

/// Whether Daytona counts a snapshot in this state against the limit.
fn counts(state: &SnapshotState) -> bool {
    match state {
        SnapshotState::Active
        | SnapshotState::Building
        | SnapshotState::Pending
        | SnapshotState::Pulling
        | SnapshotState::Snapshotting
        | SnapshotState::Other(_) => true,
        SnapshotState::Inactive
        | SnapshotState::Error
        | SnapshotState::BuildFailed
        | SnapshotState::Removing => false,
    }
}
