//! Sandboxes and snapshots as the API shows them. Field names are Daytona's; what is kept beside a row (its jail,
//! its files) is in `server`.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::IntoStaticStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SandboxState {
    Creating,
    /// Waits for a runner.
    PullingSnapshot,
    Starting,
    Started,
    Stopping,
    Stopped,
    Snapshotting,
    Destroying,
    /// Only of one that waited too long for a runner: it can still be read by its id.
    Destroyed,
    Error,
}

impl SandboxState {
    /// Every other change is refused while the row is in one of these.
    pub(crate) fn is_pending(self) -> bool {
        match self {
            Self::Creating
            | Self::PullingSnapshot
            | Self::Starting
            | Self::Stopping
            | Self::Snapshotting
            | Self::Destroying => true,
            Self::Started | Self::Stopped | Self::Destroyed | Self::Error => false,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    fn desired(self) -> &'static str {
        match self {
            Self::Stopping | Self::Stopped => "stopped",
            Self::Destroying | Self::Destroyed => "destroyed",
            Self::Creating
            | Self::PullingSnapshot
            | Self::Starting
            | Self::Started
            | Self::Snapshotting
            | Self::Error => "started",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SandboxRow {
    pub(crate) id: String,
    pub(crate) organization_id: String,
    pub(crate) name: String,
    pub(crate) snapshot: String,
    pub(crate) user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<BTreeMap<String, String>>,
    /// As they came: Daytona looks at neither names nor values.
    pub(crate) labels: Value,
    pub(crate) public: bool,
    pub(crate) network_block_all: bool,
    /// Required by clients from 0.226 on, unknown before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kvm: Option<bool>,
    pub(crate) target: String,
    pub(crate) cpu: u32,
    pub(crate) gpu: u32,
    pub(crate) memory: u32,
    pub(crate) disk: u32,
    pub(crate) state: SandboxState,
    pub(crate) desired_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_reason: Option<String>,
    pub(crate) recoverable: bool,
    pub(crate) backup_state: &'static str,
    pub(crate) auto_stop_interval: u32,
    pub(crate) auto_archive_interval: u32,
    pub(crate) auto_delete_interval: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auto_destroy_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue_timed_out_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) last_activity_at: DateTime<Utc>,
    pub(crate) sandbox_class: String,
    pub(crate) daemon_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runner_id: Option<String>,
    pub(crate) toolbox_proxy_url: String,
}

impl SandboxRow {
    pub(crate) fn enter(&mut self, state: SandboxState) {
        self.state = state;
        self.desired_state = state.desired();
        self.updated_at = now();
    }

    /// As the list shows it: without env.
    pub(crate) fn without_env(&self) -> Self {
        Self { env: None, ..self.clone() }
    }

    /// Whether stopping it means deleting it.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.auto_delete_interval == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SnapshotState {
    Pending,
    Pulling,
    Snapshotting,
    Active,
    Inactive,
    Error,
    Removing,
}

impl SnapshotState {
    /// Quotas count what is there and what is being made.
    pub(crate) fn uses_quota(self) -> bool {
        match self {
            Self::Pending | Self::Pulling | Self::Snapshotting | Self::Active => true,
            Self::Inactive | Self::Error | Self::Removing => false,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SnapshotRow {
    pub(crate) id: String,
    /// The base snapshot has none: every organization of this server sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization_id: Option<String>,
    pub(crate) general: bool,
    pub(crate) name: String,
    /// Empty for what was captured: it was pulled from nowhere, so it can't be pulled again.
    #[serde(default)]
    pub(crate) image_name: String,
    pub(crate) state: SnapshotState,
    pub(crate) size: Option<f64>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cpu: u32,
    pub(crate) gpu: u32,
    pub(crate) mem: u32,
    pub(crate) disk: u32,
    pub(crate) error_reason: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
    /// In v0.190 nobody's, who does not know it.
    #[serde(default)]
    pub(crate) source_sandbox_id: Option<String>,
    pub(crate) region_ids: Vec<String>,
    pub(crate) sandbox_class: String,
}

/// A snapshot on disk: the row, and the env that a container commit bakes in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotFile {
    pub(crate) row: SnapshotRow,
    pub(crate) env: BTreeMap<String, String>,
    /// What was written on top of the snapshot that its sandbox was started from.
    #[serde(default)]
    pub(crate) added_bytes: u64,
}

pub(crate) const REGION: &str = "local";

/// Milliseconds are what the SDKs' date parsers agree on.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
