//! What harvestctl is told: a part of the producer's settings, read from the same file and variables by the producer's own
//! code, so that both speak of the same fleet and name the same mistakes.

use std::path::{Path, PathBuf};

use account::QuotaSection;
use broker::BrokerSettings;
use daytona::ClientSettings;
use job::FleetName;
use producer::{KeeperSection, ProducerSettings};
use settings::{Environment, Problems};
use telemetry::TelemetrySection;

/// Everything harvestctl is told.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// The fleet it works on.
    pub fleet: FleetName,
    /// The file that says which repositories there are; read by submit and replay.
    pub fleet_file: PathBuf,
    /// How RabbitMQ is reached.
    pub broker: BrokerSettings,
    /// How Daytona is reached, when there is a key: most commands do without.
    pub daytona: Option<ClientSettings>,
    /// What the active producer does for the fleet as a whole, and when.
    pub keeper: KeeperSection,
    /// The organization's limits, as far as they are known.
    pub quota: QuotaSection,
    /// What is logged, and how it looks.
    pub telemetry: TelemetrySection,
}

impl OperatorSettings {
    /// From the producer's file and the environment; every mistake at once.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, Problems> {
        let ProducerSettings { fleet, fleet_file, broker, daytona, keeper, quota, telemetry, .. } =
            ProducerSettings::load(environment, file)?;
        Ok(Self { fleet, fleet_file, broker, daytona, keeper, quota, telemetry })
    }
}
