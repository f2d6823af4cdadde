//! A sandbox as Daytona describes it, and one that is to be made.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::class::SandboxClass;
use crate::ids::{OrganizationId, SandboxId};
use crate::lenient;
use crate::states::SandboxState;

/// A sandbox. Its environment is left out on purpose: it can hold the secrets of others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Its id, never given to another sandbox.
    #[serde(deserialize_with = "id")]
    pub id: SandboxId,
    /// Its name, unique among the living sandboxes of the organization.
    #[serde(default, deserialize_with = "lenient::word")]
    pub name: String,
    /// The organization that owns it.
    #[serde(default, deserialize_with = "lenient::named")]
    pub organization_id: Option<OrganizationId>,
    /// What it is doing.
    #[serde(default = "unknown", deserialize_with = "state")]
    pub state: SandboxState,
    /// Why it failed, where Daytona gives a reason.
    #[serde(default, deserialize_with = "lenient::text")]
    pub error_reason: Option<String>,
    /// Its labels, by which the fleet knows its own.
    #[serde(default, deserialize_with = "lenient::labels")]
    pub labels: BTreeMap<String, String>,
    /// The id or name of the snapshot it was made from.
    #[serde(default, deserialize_with = "lenient::text")]
    pub snapshot: Option<String>,
    /// The user its commands run as.
    #[serde(default, deserialize_with = "lenient::text")]
    pub user: Option<String>,
    /// The region it runs in.
    #[serde(default, deserialize_with = "lenient::text")]
    pub target: Option<String>,
    /// How many vCPUs it has.
    #[serde(default, deserialize_with = "lenient::amount")]
    pub cpu: f64,
    /// Its memory in GiB.
    #[serde(default, deserialize_with = "lenient::amount")]
    pub memory: f64,
    /// Its disk in GiB.
    #[serde(default, deserialize_with = "lenient::amount")]
    pub disk: f64,
    /// Minutes without activity until it stops; 0 is never.
    #[serde(default, deserialize_with = "lenient::number")]
    pub auto_stop_interval: Option<f64>,
    /// Minutes stopped until it is deleted; 0 is at once, negative never.
    #[serde(default, deserialize_with = "lenient::number")]
    pub auto_delete_interval: Option<f64>,
    /// When it is destroyed whatever it does.
    #[serde(default, deserialize_with = "lenient::time")]
    pub auto_destroy_at: Option<DateTime<Utc>>,
    /// Minutes it waits for a runner. Said only by a Daytona that has queues.
    #[serde(default, deserialize_with = "lenient::number")]
    pub queue_timeout: Option<f64>,
    /// When Daytona destroyed it because no runner took it in time. It can still be read by its id for a day.
    #[serde(default, deserialize_with = "lenient::time")]
    pub queue_timed_out_at: Option<DateTime<Utc>>,
    /// What kind of machine it is; its snapshot's.
    #[serde(default, rename = "sandboxClass")]
    pub class: SandboxClass,
    /// When it was made.
    #[serde(default, deserialize_with = "lenient::time")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    #[serde(default, deserialize_with = "lenient::time")]
    pub updated_at: Option<DateTime<Utc>>,
    /// When it was last used.
    #[serde(default, deserialize_with = "lenient::time")]
    pub last_activity_at: Option<DateTime<Utc>>,
    /// The machine it is on.
    #[serde(default, deserialize_with = "lenient::text")]
    pub runner_id: Option<String>,
    /// Where its toolbox is; regions differ.
    #[serde(default, deserialize_with = "lenient::text")]
    pub toolbox_proxy_url: Option<String>,
}

impl Sandbox {
    /// Whether it waits for nothing but a runner.
    pub(crate) fn is_queued(&self) -> bool {
        let waits = matches!(self.state, SandboxState::PullingSnapshot | SandboxState::PendingBuild);
        waits && self.queue_timeout.is_some() && self.runner_id.is_none()
    }
}

fn unknown() -> SandboxState {
    SandboxState::Unknown
}

fn state<'de, D: serde::Deserializer<'de>>(input: D) -> Result<SandboxState, D::Error> {
    Ok(lenient::named(input)?.unwrap_or(SandboxState::Unknown))
}

fn id<'de, D: serde::Deserializer<'de>>(input: D) -> Result<SandboxId, D::Error> {
    lenient::id(input).map(SandboxId::new)
}

/// A sandbox to be made.
///
/// The name is required here although Daytona would make one up: without a name a sandbox whose create went
/// unanswered can't be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSandbox {
    /// Its name, which no living sandbox may have already.
    pub name: String,
    /// The id or name of a snapshot; its resources come with it.
    pub snapshot: String,
    /// Its labels, by which the fleet knows its own.
    pub labels: BTreeMap<String, String>,
    /// The environment. Stored in clear and baked into captures: never a secret.
    pub env: BTreeMap<String, String>,
    /// The user commands run as; the snapshot's if none.
    pub user: Option<String>,
    /// Without activity for this long it stops. Whole minutes, rounded up.
    pub auto_stop: Duration,
    /// Stopped for this long it is deleted; zero is at once.
    pub auto_delete: Duration,
    /// It is destroyed this long after its creation, whatever it does.
    pub ttl: Duration,
    /// It is destroyed if no runner took it for this long. Whole minutes, rounded up, at least one.
    ///
    /// Always sent: an older Daytona passes over what it does not know (v0.190 validates without a list of what is allowed),
    /// and one that knows it goes by it where queues are switched on for the organization.
    pub queue: Duration,
}

impl NewSandbox {
    /// One that is deleted when it stops, stops when idle for 15 minutes, and never outlives a day.
    pub fn new(name: impl Into<String>, snapshot: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            snapshot: snapshot.into(),
            labels: BTreeMap::new(),
            env: BTreeMap::new(),
            user: None,
            auto_stop: Duration::from_mins(15),
            auto_delete: Duration::ZERO,
            ttl: Duration::from_hours(24),
            queue: Duration::from_mins(15),
        }
    }
}

/// Whole minutes, rounded up: a guard may come late, never early.
pub(crate) fn minutes(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(60)
}
