//! Who the API key is and how much room its organization has left.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use strum::{AsRefStr, EnumString};

use crate::client::Client;
use crate::errors::Error;
use crate::ids::OrganizationId;
use crate::lenient;
use crate::operation::{USAGE, WHOAMI};

/// What an API key may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, AsRefStr, EnumString)]
#[serde(from = "String")]
pub enum Permission {
    /// Create, start, stop, label and capture sandboxes.
    #[strum(serialize = "write:sandboxes")]
    WriteSandboxes,
    /// Delete sandboxes, which releases a lease.
    #[strum(serialize = "delete:sandboxes")]
    DeleteSandboxes,
    /// Activate snapshots that Daytona put to sleep.
    #[strum(serialize = "write:snapshots")]
    WriteSnapshots,
    /// Delete snapshots, which collects old prebuilds.
    #[strum(serialize = "delete:snapshots")]
    DeleteSnapshots,
    /// Something the fleet has no use for.
    #[strum(default, transparent)]
    Other(String),
}

impl Permission {
    /// What a worker can't do without.
    pub const NEEDED: [Self; 4] =
        [Self::WriteSandboxes, Self::DeleteSandboxes, Self::WriteSnapshots, Self::DeleteSnapshots];

    /// As Daytona writes it.
    pub fn as_str(&self) -> &str {
        self.as_ref()
    }
}

impl From<String> for Permission {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// The API key in use.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The name it was given.
    pub name: String,
    /// What it may do.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub permissions: Vec<Permission>,
    /// When it stops working.
    #[serde(default, deserialize_with = "lenient::time")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// What it lacks of [`Permission::NEEDED`].
    pub fn missing(&self) -> Vec<Permission> {
        Permission::NEEDED.into_iter().filter(|needed| !self.permissions.contains(needed)).collect()
    }
}

/// How much of the organization's room is used.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrganizationUsage {
    /// Per region and class of sandbox.
    #[serde(deserialize_with = "lenient::or_default")]
    pub region_usage: Vec<RegionUsage>,
    /// The most snapshots there may be.
    #[serde(deserialize_with = "lenient::or_default")]
    pub total_snapshot_quota: f64,
    /// How many there are.
    #[serde(deserialize_with = "lenient::or_default")]
    pub current_snapshot_usage: f64,
}

/// What is used of one region by one class of sandbox. vCPU, GiB, GiB.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionUsage {
    /// The region's id, as in a sandbox's `target`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub region_id: String,
    /// The class of sandbox: `container`, `linux-vm`...
    #[serde(deserialize_with = "lenient::or_default")]
    pub sandbox_class: String,
    /// vCPUs there may be.
    #[serde(deserialize_with = "lenient::or_default")]
    pub total_cpu_quota: f64,
    /// vCPUs of the sandboxes that run now.
    #[serde(deserialize_with = "lenient::or_default")]
    pub current_cpu_usage: f64,
    /// Memory there may be.
    #[serde(deserialize_with = "lenient::or_default")]
    pub total_memory_quota: f64,
    /// Memory of the sandboxes that run now.
    #[serde(deserialize_with = "lenient::or_default")]
    pub current_memory_usage: f64,
    /// Disk there may be.
    #[serde(deserialize_with = "lenient::or_default")]
    pub total_disk_quota: f64,
    /// Disk of all sandboxes, stopped ones too.
    #[serde(deserialize_with = "lenient::or_default")]
    pub current_disk_usage: f64,
    /// The most vCPUs of one sandbox.
    pub max_cpu_per_sandbox: Option<f64>,
    /// The most memory of one sandbox.
    pub max_memory_per_sandbox: Option<f64>,
    /// The most disk of one sandbox.
    pub max_disk_per_sandbox: Option<f64>,
}

impl Client {
    /// The API key in use: the self-test at start-up.
    pub async fn whoami(&self) -> Result<ApiKey, Error> {
        self.send(&self.call(WHOAMI, &[])).await?.read()
    }

    /// How much room the organization has. Its id is in every sandbox and snapshot.
    pub async fn usage(&self, organization: &OrganizationId) -> Result<OrganizationUsage, Error> {
        self.send(&self.call(USAGE, &[organization.as_str()])).await?.read()
    }
}
