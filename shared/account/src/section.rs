//! The knobs about the organization's limits, which everybody who judges its room has alike.

use std::time::Duration;

use job::Resource;
use serde::Deserialize;

/// The section `[quota]` of the settings, the same in every program of a fleet. 0 is a limit that nobody has told.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaSection {
    /// The most sandboxes of this fleet at once.
    pub sandboxes: u32,
    /// vCPUs of all sandboxes of the organization.
    pub cpu: u32,
    /// GiB of memory of all sandboxes of the organization.
    pub memory_gb: u32,
    /// GiB of disk of all sandboxes of the organization.
    pub disk_gb: u32,
    /// Snapshots of the organization that are not asleep.
    pub snapshots: u32,
    /// Sandboxes' worth of vCPU, memory and disk that are left to sessions.
    pub reserve_for_sessions: u32,
    /// Snapshots that are left to others.
    pub reserve_snapshots: u32,
    /// How often the fleet's sandboxes and snapshots are counted, at most, by one process.
    #[serde(with = "humantime_serde")]
    pub count: Duration,
}

impl QuotaSection {
    /// The limit that the settings tell.
    pub(crate) fn limit(&self, resource: Resource) -> Option<f64> {
        let limit = match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory_gb,
            Resource::Disk => self.disk_gb,
            Resource::Snapshots => self.snapshots,
        };
        (limit > 0).then(|| f64::from(limit))
    }

    /// Whether the settings tell any limit at all.
    pub(crate) fn tells_any(&self) -> bool {
        let Self { sandboxes, cpu, memory_gb, disk_gb, snapshots, .. } = *self;
        [sandboxes, cpu, memory_gb, disk_gb, snapshots].into_iter().any(|limit| limit > 0)
    }
}
