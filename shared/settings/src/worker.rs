//! What the worker is told. config/worker.toml is the list of its knobs, their defaults and reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use job::{FleetName, RetryPolicy};
use serde::Deserialize;
use url::Url;

use crate::layers::{self, Knobs, Layered, Rule};
use crate::problem::{Mistake, Problem, Problems};
use crate::sections::{ALIASES, BrokerKnobs, DaytonaKnobs, SECRETS_TOLD, TelemetryKnobs};
use crate::{
    BrokerSettings, DaytonaSettings, Effective, Environment, HttpSettings, Secrets, TelemetrySettings,
};

pub(crate) const KNOBS: Knobs = Knobs {
    defaults: include_str!("../../../config/worker.toml"),
    required: &["fleet"],
    open: &["classes"],
    aliases: ALIASES,
};

/// Everything a worker is told.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Whose worker.
    pub fleet: FleetName,
    /// How many builds at once.
    pub slots: usize,
    /// The work queues it takes from.
    pub queues: BTreeSet<QueueName>,
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// Daytona.
    pub daytona: DaytonaSettings,
    /// Logs, traces.
    pub telemetry: TelemetrySettings,
    /// Health and metrics.
    pub http: HttpSettings,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The right to build a target.
    pub lease: LeaseSettings,
    /// Leaving.
    pub drain: DrainSettings,
    /// Sandboxes.
    pub sandboxes: SandboxSettings,
    /// Commands in sandboxes.
    pub commands: CommandSettings,
    /// Old prebuilds.
    pub prebuilds: PrebuildSettings,
    /// Where tools come from.
    pub toolchain: ToolchainMirrors,
    /// The ledger.
    pub ledger: LedgerSettings,
    /// Size classes, by name.
    pub classes: BTreeMap<String, ClassSettings>,
    /// Secrets, by name.
    pub secrets: Secrets,
    /// Every knob, for the log.
    pub effective: Effective,
}

/// A work queue, as settings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueName {
    /// What a leaving worker handed back.
    Resume,
    /// What somebody asked for.
    OnDemand,
    /// The schedule's.
    Refresh,
}

/// The right to build a target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSettings {
    /// How often the holder raises the beat.
    #[serde(with = "humantime_serde")]
    pub beat: Duration,
    /// How long the same beat must be seen before another may take the lease.
    #[serde(with = "humantime_serde")]
    pub stale: Duration,
    /// How often sandboxes that dead workers left are looked for.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
}

/// Leaving.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSettings {
    /// How long builds may go on after SIGTERM before they are handed back.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

/// Sandboxes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSettings {
    /// The most sandboxes the fleet may have at once; 0 leaves it to Daytona's quota.
    pub max: u32,
    /// How many of the organisation's sandboxes are left for sessions.
    pub reserve_for_sessions: u32,
    /// How many of the organisation's snapshots are left for others.
    pub reserve_snapshots: u32,
    /// How long an idle sandbox stays before Daytona stops it, which deletes it.
    #[serde(with = "humantime_serde")]
    pub auto_stop: Duration,
    /// How long any sandbox of the fleet lives at most.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How long a sandbox may take to start.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
    /// Less free disk than this after checkout or install fails the attempt, in MB.
    pub min_free_disk_mb: u64,
}

/// Commands in sandboxes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// How often a long command is looked at.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
}

/// Old prebuilds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrebuildSettings {
    /// How long one that is no longer kept stays after a sandbox was last started from it.
    #[serde(with = "humantime_serde")]
    pub in_use: Duration,
}

/// Where tools come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainMirrors {
    /// The npm registry for Node and package managers; what the sandbox itself is set to when none.
    #[serde(deserialize_with = "none_when_empty")]
    pub npm_registry: Option<Url>,
}

/// The ledger.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSettings {
    /// How often the outcomes that changed nothing are written, in one entry.
    #[serde(with = "humantime_serde")]
    pub batch: Duration,
}

/// A size of sandbox. Daytona sets the size when a snapshot is made, so a class is a base snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSettings {
    /// Where cold builds of this class start; the target's own base snapshot when none.
    pub base_snapshot: Option<String>,
}

fn none_when_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerFile {
    fleet: Option<FleetName>,
    slots: usize,
    queues: BTreeSet<QueueName>,
    broker: BrokerKnobs,
    daytona: DaytonaKnobs,
    telemetry: TelemetryKnobs,
    http: HttpSettings,
    retry: RetryPolicy,
    lease: LeaseSettings,
    drain: DrainSettings,
    sandboxes: SandboxSettings,
    commands: CommandSettings,
    prebuilds: PrebuildSettings,
    toolchain: ToolchainMirrors,
    ledger: LedgerSettings,
    classes: BTreeMap<String, ClassSettings>,
}

impl WorkerSettings {
    /// The shipped defaults, under `file`, under the environment; every mistake at once.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let mut layers: Layered<WorkerFile> = layers::read(&KNOBS, file, environment);
        check(&mut layers);
        let Layered { value, effective, mut problems, .. } = layers;
        let broker = value.broker.with_url(environment, &mut problems);
        let daytona = value.daytona.with_required_key(environment, &mut problems);
        let fleet = required_fleet(value.fleet, &mut problems);
        let Some(fleet) = fleet.filter(|_| problems.is_empty()) else {
            return Err(Problems::in_order(problems));
        };
        Ok(Self {
            fleet,
            slots: value.slots,
            queues: value.queues,
            broker,
            daytona,
            telemetry: value.telemetry.with_variables(environment),
            http: value.http,
            retry: value.retry,
            lease: value.lease,
            drain: value.drain,
            sandboxes: value.sandboxes,
            commands: value.commands,
            prebuilds: value.prebuilds,
            toolchain: value.toolchain,
            ledger: value.ledger,
            classes: value.classes,
            secrets: Secrets::new(environment.clone()),
            effective: effective.with_environment(environment, SECRETS_TOLD),
        })
    }
}

/// The one setting without a default: a guessed name would mix two installations up.
pub(crate) fn required_fleet(fleet: Option<FleetName>, problems: &mut Vec<Problem>) -> Option<FleetName> {
    let told = problems
        .iter()
        .any(|problem| matches!(&problem.mistake, Mistake::Value { key, .. } if key == "fleet"));
    if fleet.is_none() && !told {
        problems.push(Problem::missing(
            "the fleet has no name: set HARVEST_FLEET, or fleet = \"...\" in the file given by --config",
        ));
    }
    fleet
}

fn check(layers: &mut Layered<WorkerFile>) {
    let file = &layers.value;
    let retry = file.retry.validate();
    let rules = [
        Rule { key: "slots", broken: file.slots == 0, must: "must be at least 1" },
        Rule {
            key: "queues",
            broken: file.queues.is_empty(),
            must: "must name at least one of resume, ondemand and refresh",
        },
        Rule {
            key: "lease.stale",
            broken: file.lease.stale < file.lease.beat * 3,
            must: "must be at least three beats (lease.beat), or a living holder loses its lease",
        },
        Rule { key: "lease.beat", broken: file.lease.beat.is_zero(), must: "must be longer than nothing" },
        Rule {
            key: "commands.poll",
            broken: file.commands.poll.is_zero(),
            must: "must be longer than nothing",
        },
        Rule {
            key: "sandboxes.ttl",
            broken: file.sandboxes.ttl < file.sandboxes.auto_stop,
            must: "must not be shorter than sandboxes.auto_stop",
        },
    ];
    for rule in &rules {
        layers.require(rule);
    }
    if let Err(error) = retry {
        layers.refuse("retry.delays", Mistake::Retry(error));
    }
}
