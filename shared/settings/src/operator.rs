//! What harvestctl is told: a part of the producer's settings, from the same file and variables, so that both speak
//! of the same fleet.

use std::path::{Path, PathBuf};

use job::{FleetName, RetryPolicy};

use crate::problem::Problems;
use crate::{BrokerSettings, DaytonaSettings, Environment, ProducerSettings, TelemetrySettings};

/// Everything harvestctl is told.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// Whose.
    pub fleet: FleetName,
    /// Which repositories; read by submit and replay.
    pub fleet_file: PathBuf,
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// Daytona, when there is a key: most commands do without.
    pub daytona: Option<DaytonaSettings>,
    /// Logs, traces.
    pub telemetry: TelemetrySettings,
    /// The delay queues; the same as the workers'.
    pub retry: RetryPolicy,
}

impl OperatorSettings {
    /// From the producer's file and the environment; every mistake at once.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let settings = ProducerSettings::load(environment, file)?;
        Ok(Self {
            fleet: settings.fleet,
            fleet_file: settings.fleet_file,
            broker: settings.broker,
            daytona: settings.daytona,
            telemetry: settings.telemetry,
            retry: settings.retry,
        })
    }
}
