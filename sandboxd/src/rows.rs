//! Sandboxes and snapshots as the API shows them. Field names are Daytona's; what is kept beside a row (its jail,
//! its files) is in `server`.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SandboxState {
    Creating,
    Starting,
    Started,
    Stopping,
    Stopped,
    Snapshotting,
    Destroying,
    Error,
}

impl SandboxState {
    /// Every other change is refused while the row is in one of these.
    pub(crate) fn is_pending(self) -> bool {
        match self {
            Self::Creating | Self::Starting | Self::Stopping | Self::Snapshotting | Self::Destroying => true,
            Self::Started | Self::Stopped | Self::Error => false,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    fn desired(self) -> &'static str {
        match self {
            Self::Stopping | Self::Stopped => "stopped",
            Self::Destroying => "destroyed",
            Self::Creating | Self::Starting | Self::Started | Self::Snapshotting | Self::Error => "started",
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
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) public: bool,
    pub(crate) network_block_all: bool,
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
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) last_activity_at: DateTime<Utc>,
    pub(crate) sandbox_class: &'static str,
    pub(crate) daemon_version: &'static str,
    pub(crate) runner_id: &'static str,
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
    Active,
    Inactive,
    Removing,
}

impl SnapshotState {
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
    pub(crate) source_sandbox_id: Option<String>,
    pub(crate) region_ids: Vec<String>,
    pub(crate) sandbox_class: String,
}

/// A snapshot on disk: the row, and the env that a container commit bakes in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotFile {
    pub(crate) row: SnapshotRow,
    pub(crate) env: BTreeMap<String, String>,
}

pub(crate) const REGION: &str = "local";

/// Milliseconds are what the SDKs' date parsers agree on.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
