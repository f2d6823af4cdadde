//! What the producer is told: the sum of the sections of config/producer.toml, which lists every knob, its default and reason.

use std::path::{Path, PathBuf};
use std::time::Duration;

use account::QuotaSection;
use broker::{BrokerSection, BrokerSettings};
use daytona::{ClientSettings, DaytonaSection};
use job::{FleetName, RetryPolicy};
use lease::LeaseSection;
use lifecycle::{DrainSection, HttpSection};
use serde::Deserialize;
use settings::{
    AMQP_URL, DAYTONA_API_KEY, Effective, Environment, FLEET_MISSING, Layered, Mistake, Problems, Rule,
    shipped,
};
use telemetry::TelemetrySection;

use crate::KeeperSection;

/// Everything a producer is told.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// The fleet whose ticks it fires.
    pub fleet: FleetName,
    /// The file that says which repositories there are.
    pub fleet_file: PathBuf,
    /// When ticks are fired, and when not.
    pub schedule: ScheduleSection,
    /// What the active producer does for the fleet as a whole.
    pub keeper: KeeperSection,
    /// When the holder of a sandbox is dead.
    pub lease: LeaseSection,
    /// The organization's limits, as far as they are known.
    pub quota: QuotaSection,
    /// How RabbitMQ is reached.
    pub broker: BrokerSettings,
    /// How Daytona is reached, when there is a key: base snapshots are looked up there.
    pub daytona: Option<ClientSettings>,
    /// What is logged, and how it looks.
    pub telemetry: TelemetrySection,
    /// Where health and metrics are served.
    pub http: HttpSection,
    /// How the producer leaves.
    pub drain: DrainSection,
    /// Every knob with its origin, for the log.
    pub effective: Effective,
}

/// The section `[schedule]`: when ticks are fired, and when not.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSection {
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
    /// The fleet whose jobs they would be.
    pub fleet: FleetName,
    /// The file that says which repositories there are.
    pub fleet_file: PathBuf,
    /// The organization's limits, as far as they are known.
    pub quota: QuotaSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProducerFile {
    fleet: Option<FleetName>,
    fleet_file: PathBuf,
    schedule: ScheduleSection,
    keeper: KeeperSection,
    lease: LeaseSection,
    quota: QuotaSection,
    broker: BrokerSection,
    daytona: DaytonaSection,
    telemetry: TelemetrySection,
    http: HttpSection,
    retry: RetryPolicy,
    drain: DrainSection,
}

impl ProducerSettings {
    /// The shipped defaults, under `file`, under the environment; every mistake at once.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let mut layers = read(environment, file);
        let url = layers.variable(environment, &AMQP_URL);
        let fleet = layers.required("fleet", layers.value().fleet.clone(), FLEET_MISSING);
        let (file, fleet, effective) = layers.finish(fleet, environment)?;
        let key = environment.secret(DAYTONA_API_KEY.name);
        Ok(Self {
            broker: BrokerSettings::new(url, fleet.clone(), file.retry.delays, file.broker),
            fleet,
            fleet_file: file.fleet_file,
            schedule: file.schedule,
            keeper: file.keeper,
            lease: file.lease,
            quota: file.quota,
            daytona: key.map(|key| ClientSettings::new(file.daytona, key)),
            telemetry: file.telemetry,
            http: file.http,
            drain: file.drain,
            effective,
        })
    }
}

impl PlanSettings {
    /// The same file, without what only a running producer needs.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let mut layers = read(environment, file);
        let fleet = layers.required("fleet", layers.value().fleet.clone(), FLEET_MISSING);
        let (file, fleet, _effective) = layers.finish(fleet, environment)?;
        Ok(Self { fleet, fleet_file: file.fleet_file, quota: file.quota })
    }
}

fn read(environment: &Environment, file: Option<&Path>) -> Layered<ProducerFile> {
    let mut layers: Layered<ProducerFile> = Layered::read(&shipped::PRODUCER, file, environment);
    let ScheduleSection { queue_depth_factor, reload, standby } = layers.value().schedule;
    let KeeperSection { sweep, collect, in_use: _, gone: _, idle: _, sleeps_after, warm_runners } =
        layers.value().keeper;
    let LeaseSection { beat, stale, stuck } = layers.value().lease;
    layers.require(&[
        Rule {
            key: "schedule.queue_depth_factor",
            broken: queue_depth_factor == 0,
            must: "must be at least 1",
        },
        Rule { key: "schedule.reload", broken: reload.is_zero(), must: "must be longer than nothing" },
        Rule { key: "schedule.standby", broken: standby.is_zero(), must: "must be longer than nothing" },
        Rule { key: "keeper.sweep", broken: sweep.is_zero(), must: "must be longer than nothing" },
        Rule {
            key: "daytona.refused_key_pause",
            broken: layers.value().daytona.refused_key_pause.is_zero(),
            must: "must be longer than nothing: failed authentications are counted",
        },
        Rule { key: "lease.beat", broken: beat.is_zero(), must: "must be longer than nothing" },
        Rule {
            key: "lease.stale",
            broken: stale < beat * 3,
            must: "must be at least three beats (lease.beat), or the living are swept",
        },
        Rule {
            key: "lease.stuck",
            broken: stuck < stale,
            must: "must not be shorter than lease.stale: it is the same value as the workers'",
        },
        Rule { key: "keeper.collect", broken: collect.is_zero(), must: "must be longer than nothing" },
        Rule {
            key: "keeper.warm_runners",
            broken: warm_runners > 20,
            must: "must be at most 20: so many sandboxes are started at once for every promotion",
        },
        Rule {
            key: "keeper.sleeps_after",
            broken: sleeps_after <= collect,
            must: "must be longer than keeper.collect, and what the organization has set in Daytona: 14d unless it was changed",
        },
    ]);
    if let Err(error) = layers.value().retry.validate() {
        layers.refuse("retry.delays", Mistake::Retry(error));
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_what_the_producer_reads() {
        let environment =
            Environment::from_pairs([("HARVEST_FLEET", "demo"), ("AMQP_URL", "amqp://u:p@localhost/")]);
        let producer = ProducerSettings::load(&environment, None).unwrap();
        assert_eq!(producer.telemetry.log_format, telemetry::LogFormat::Auto);
        assert_eq!(producer.broker.retry_delays, RetryPolicy::example().delays);
        assert!(producer.daytona.is_none(), "there is no key");
    }

    #[test]
    fn a_wrong_broker_url_is_refused_without_being_shown() {
        let environment =
            Environment::from_pairs([("HARVEST_FLEET", "demo"), ("AMQP_URL", "rabbit:hidden-pw@host")]);
        let shown = ProducerSettings::load(&environment, None).unwrap_err().to_string();
        assert!(shown.starts_with("AMQP_URL: ") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_plan_needs_no_service() {
        let plan = PlanSettings::load(&Environment::from_pairs([("HARVEST_FLEET", "demo")]), None).unwrap();
        assert_eq!(plan.fleet_file.to_str(), Some("config/fleet.toml"));
    }
}
