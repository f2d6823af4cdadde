//! What the worker is told: the sum of the sections of config/worker.toml, which lists every knob, its default and reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use account::QuotaSection;
use broker::{BrokerSection, BrokerSettings, WorkQueue};
use daytona::{ClientSettings, DaytonaSection};
use job::{FleetName, RetryPolicy};
use lease::LeaseSection;
use lifecycle::{DrainSection, HttpSection};
use serde::Deserialize;
use settings::{
    AMQP_URL, DAYTONA_API_KEY, Effective, Environment, FLEET_MISSING, Layered, Mistake, Problems, Rule,
    SecretRules, Secrets, check_secret_rules, shipped,
};
use telemetry::TelemetrySection;

use crate::base::ClassSection;
use crate::ledger_writer::LedgerSection;
use crate::sandbox::CommandSection;
use crate::stages::provision::SandboxSection;
use crate::stages::scrub::LeftoverSection;
use crate::stages::toolchain::Mirrors;

/// Everything a worker is told.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The fleet whose jobs it takes.
    pub fleet: FleetName,
    /// How RabbitMQ is reached.
    pub broker: BrokerSettings,
    /// How Daytona is reached.
    pub daytona: ClientSettings,
    /// The secrets of its environment, by name.
    pub secrets: Secrets,
    /// What is left of the file as it stands.
    pub file: WorkerFile,
    /// Every knob with its origin, for the log.
    pub effective: Effective,
}

/// The file, under the environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerFile {
    fleet: Option<FleetName>,
    /// How many builds run at once.
    pub slots: usize,
    /// The work queues that jobs are taken from.
    pub queues: BTreeSet<WorkQueue>,
    broker: BrokerSection,
    daytona: DaytonaSection,
    /// What is logged, and how it looks.
    pub telemetry: TelemetrySection,
    /// Where health and metrics are served.
    pub http: HttpSection,
    /// When a failed attempt is tried again.
    pub retry: RetryPolicy,
    /// How the right to build a target is kept.
    pub lease: LeaseSection,
    /// How the worker leaves.
    pub drain: DrainSection,
    /// The organization's limits, as far as they are known.
    pub quota: QuotaSection,
    /// How long each sandbox may take and stay.
    pub sandboxes: SandboxSection,
    /// How commands in sandboxes are watched.
    pub commands: CommandSection,
    /// Where toolchains come from.
    pub toolchain: Mirrors,
    /// What of package managers' leftovers goes into prebuilds.
    pub leftovers: LeftoverSection,
    /// How the ledger is written.
    pub ledger: LedgerSection,
    /// What each secret of the environment is for, by its variable.
    secrets: SecretRules,
    /// The size classes, by name.
    pub classes: BTreeMap<String, ClassSection>,
}

impl WorkerSettings {
    /// The shipped defaults, under `file`, under the environment; every mistake at once.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let mut layers: Layered<WorkerFile> = Layered::read(&shipped::WORKER, file, environment);
        check(&mut layers);
        let url = layers.variable(environment, &AMQP_URL);
        let key = layers.variable(environment, &DAYTONA_API_KEY);
        let fleet = layers.required("fleet", layers.value().fleet.clone(), FLEET_MISSING);
        let (file, fleet, effective) = layers.finish(fleet, environment)?;
        let delays = file.retry.delays.clone();
        Ok(Self {
            broker: BrokerSettings::new(url, fleet.clone(), delays, file.broker.clone()),
            daytona: ClientSettings::new(file.daytona.clone(), key),
            fleet,
            secrets: Secrets::new(environment.clone(), file.secrets.clone()),
            file,
            effective,
        })
    }
}

fn check(layers: &mut Layered<WorkerFile>) {
    let file = layers.value().clone();
    layers.require(&[
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
        Rule {
            key: "lease.stuck",
            broken: file.lease.stuck < file.sandboxes.start_timeout + file.lease.stale,
            must: "must be at least sandboxes.start_timeout and lease.stale together, or a name is given up whose holder still waits for its start",
        },
        Rule {
            key: "daytona.refused_key_pause",
            broken: file.daytona.refused_key_pause.is_zero(),
            must: "must be longer than nothing: failed authentications are counted",
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
    ]);
    check_secret_rules(layers, &file.secrets);
    if let Err(error) = file.retry.validate() {
        layers.refuse("retry.delays", Mistake::Retry(error));
    }
}

#[cfg(test)]
mod tests;
