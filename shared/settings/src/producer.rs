//! What the producer is told. config/producer.toml is the list of its knobs, their defaults and reasons.

use std::path::{Path, PathBuf};
use std::time::Duration;

use job::{FleetName, RetryPolicy};
use serde::Deserialize;

use crate::layers::{self, Knobs, Layered, Rule};
use crate::problem::{Mistake, Problems};
use crate::sections::{ALIASES, BrokerKnobs, DaytonaKnobs, SECRETS_TOLD, TelemetryKnobs};
use crate::worker::required_fleet;
use crate::{BrokerSettings, DaytonaSettings, Effective, Environment, HttpSettings, TelemetrySettings};

pub(crate) const KNOBS: Knobs = Knobs {
    defaults: include_str!("../../../config/producer.toml"),
    required: &["fleet"],
    open: &[],
    aliases: ALIASES,
};

/// Everything a producer is told.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// Whose producer.
    pub fleet: FleetName,
    /// Which repositories.
    pub fleet_file: PathBuf,
    /// Firing.
    pub schedule: ScheduleSettings,
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// Daytona, when there is a key: base snapshots are looked up there.
    pub daytona: Option<DaytonaSettings>,
    /// Logs, traces.
    pub telemetry: TelemetrySettings,
    /// Health and metrics.
    pub http: HttpSettings,
    /// The delay queues; the same as the workers'.
    pub retry: RetryPolicy,
    /// How long leaving may take.
    pub drain_deadline: Duration,
    /// Every knob, for the log.
    pub effective: Effective,
}

/// Firing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// A tick is skipped while the queue holds more than this many jobs per target.
    pub queue_depth_factor: u32,
    /// How often the fleet file is looked at for changes.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
    /// How often a standby tries to become the active producer.
    #[serde(with = "humantime_serde")]
    pub standby: Duration,
}

/// What is needed to say which jobs a tick would publish: no broker, no Daytona.
#[derive(Debug, Clone)]
pub struct PlanSettings {
    /// Whose jobs.
    pub fleet: FleetName,
    /// Which repositories.
    pub fleet_file: PathBuf,
    /// Logs, traces.
    pub telemetry: TelemetrySettings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProducerFile {
    fleet: Option<FleetName>,
    fleet_file: PathBuf,
    schedule: ScheduleSettings,
    broker: BrokerKnobs,
    daytona: DaytonaKnobs,
    telemetry: TelemetryKnobs,
    http: HttpSettings,
    retry: RetryPolicy,
    drain: DrainKnobs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainKnobs {
    #[serde(with = "humantime_serde")]
    deadline: Duration,
}

fn read(environment: &Environment, file: Option<&Path>) -> Layered<ProducerFile> {
    let mut layers: Layered<ProducerFile> = layers::read(&KNOBS, file, environment);
    let schedule = layers.value.schedule.clone();
    let retry = layers.value.retry.validate();
    let rules = [
        Rule {
            key: "schedule.queue_depth_factor",
            broken: schedule.queue_depth_factor == 0,
            must: "must be at least 1",
        },
        Rule {
            key: "schedule.reload",
            broken: schedule.reload.is_zero(),
            must: "must be longer than nothing",
        },
        Rule {
            key: "schedule.standby",
            broken: schedule.standby.is_zero(),
            must: "must be longer than nothing",
        },
    ];
    for rule in &rules {
        layers.require(rule);
    }
    if let Err(error) = retry {
        layers.refuse("retry.delays", Mistake::Retry(error));
    }
    layers
}

impl ProducerSettings {
    /// The shipped defaults, under `file`, under the environment; every mistake at once.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let Layered { value, effective, mut problems, .. } = read(environment, file);
        let broker = value.broker.with_url(environment, &mut problems);
        let fleet = required_fleet(value.fleet, &mut problems);
        let Some(fleet) = fleet.filter(|_| problems.is_empty()) else {
            return Err(Problems::in_order(problems));
        };
        Ok(Self {
            fleet,
            fleet_file: value.fleet_file,
            schedule: value.schedule,
            broker,
            daytona: value.daytona.with_key(environment),
            telemetry: value.telemetry.with_variables(environment),
            http: value.http,
            retry: value.retry,
            drain_deadline: value.drain.deadline,
            effective: effective.with_environment(environment, SECRETS_TOLD),
        })
    }
}

impl PlanSettings {
    /// The same file, without what only a running producer needs.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let Layered { value, mut problems, .. } = read(environment, file);
        let fleet = required_fleet(value.fleet, &mut problems);
        let Some(fleet) = fleet.filter(|_| problems.is_empty()) else {
            return Err(Problems::in_order(problems));
        };
        let telemetry = value.telemetry.with_variables(environment);
        Ok(Self { fleet, fleet_file: value.fleet_file, telemetry })
    }
}
