//! What the worker is told. config/worker.toml is the list of its knobs, their defaults and reasons.

use std::collections::BTreeMap;
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
    /// Warm builds.
    pub warm: WarmSettings,
    /// Where tools come from.
    pub toolchain: ToolchainMirrors,
    /// When to stop taking jobs because something shared is down.
    pub brake: BrakeSettings,
    /// The ledger.
    pub ledger: LedgerSettings,
    /// Size classes, by name.
    pub classes: BTreeMap<String, ClassSettings>,
    /// Secrets, by name.
    pub secrets: Secrets,
    /// Every knob, for the log.
    pub effective: Effective,
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
    /// How long builds may go on after SIGTERM before they are handed over.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long a handed-over build's sandbox lives on without a worker.
    #[serde(with = "humantime_serde")]
    pub resume_wait: Duration,
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
    /// How long a command that is told to end may take.
    #[serde(with = "humantime_serde")]
    pub kill_grace: Duration,
}

/// Warm builds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmSettings {
    /// How old the cold prebuild under a warm build may be.
    #[serde(with = "humantime_serde")]
    pub cold_base_max_age: Duration,
    /// After how many failed warm builds in a row the next is cold.
    pub max_failures: u32,
    /// How long a prebuild that was answered to somebody is kept.
    #[serde(with = "humantime_serde")]
    pub keep_answered: Duration,
}

/// Where tools come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainMirrors {
    /// Node's releases.
    pub node_mirror: Url,
    /// The npm registry, for package managers.
    pub npm_registry: Url,
}

/// When to stop taking jobs because something shared is down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrakeSettings {
    /// How many attempts are looked back on.
    pub attempts: u32,
    /// The share of them that must have failed for the same shared reason, in percent.
    pub failed_percent: u32,
    /// How often one job is let through to see whether it is over.
    #[serde(with = "humantime_serde")]
    pub probe: Duration,
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
    /// The class to try once after a failure for want of memory or disk.
    pub larger: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerFile {
    fleet: Option<FleetName>,
    slots: usize,
    broker: BrokerKnobs,
    daytona: DaytonaKnobs,
    telemetry: TelemetryKnobs,
    http: HttpSettings,
    retry: RetryPolicy,
    lease: LeaseSettings,
    drain: DrainSettings,
    sandboxes: SandboxSettings,
    commands: CommandSettings,
    warm: WarmSettings,
    toolchain: ToolchainMirrors,
    brake: BrakeSettings,
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
            broker,
            daytona,
            telemetry: value.telemetry.with_variables(environment),
            http: value.http,
            retry: value.retry,
            lease: value.lease,
            drain: value.drain,
            sandboxes: value.sandboxes,
            commands: value.commands,
            warm: value.warm,
            toolchain: value.toolchain,
            brake: value.brake,
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
    let unknown_class = file
        .classes
        .iter()
        .find(|(_, class)| class.larger.as_ref().is_some_and(|larger| !file.classes.contains_key(larger)))
        .map(|(name, _)| format!("classes.{name}"));
    let retry = file.retry.validate();
    let rules = [
        Rule { key: "slots", broken: file.slots == 0, must: "must be at least 1" },
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
        Rule {
            key: "brake.failed_percent",
            broken: !(1..=100).contains(&file.brake.failed_percent),
            must: "must be between 1 and 100",
        },
        Rule { key: "brake.attempts", broken: file.brake.attempts == 0, must: "must be at least 1" },
    ];
    for rule in &rules {
        layers.require(rule);
    }
    if let Err(error) = retry {
        layers.refuse("retry.delays", Mistake::Retry(error));
    }
    if let Some(key) = unknown_class {
        layers.refuse(
            &key,
            Mistake::Rule { key: key.clone(), rule: "names a larger class that does not exist" },
        );
    }
}
