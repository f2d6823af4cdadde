//! What commands are made of: each part is opened by the command that needs it, so that one that is down only stops
//! those that cannot do without it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, BrokerSettings, Ledger, ReadFrom, Register};
use daytona::Client;
use job::{LedgerEntry, Settings};
use remote::{Credential, Remote, Timeouts};
use settings::{Environment, FleetFile, FleetLoad, Secrets};

use crate::OperatorSettings;
use crate::error::CommandError;

/// How long the register may take to be read whole.
const FIRST_READ: Duration = Duration::from_secs(30);
/// How long the ledger may take to be read whole.
const LEDGER_READ: Duration = Duration::from_mins(1);

/// Settings and secrets, and what is opened with them.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: OperatorSettings,
    pub(crate) secrets: Secrets,
    /// Who acts, for the ledger.
    pub(crate) operator: String,
    fleet_file: PathBuf,
}

impl Parts {
    pub(crate) fn new(
        settings: OperatorSettings,
        environment: &Environment,
        fleet_file: Option<PathBuf>,
    ) -> Self {
        let user = environment.get("USER").or_else(|| environment.get("HOSTNAME")).unwrap_or("somebody");
        Self {
            operator: format!("harvestctl by {user}"),
            fleet_file: fleet_file.unwrap_or_else(|| settings.fleet_file.clone()),
            secrets: Secrets::new(environment.clone()),
            settings,
        }
    }

    /// fleet.toml, as it is now.
    pub(crate) fn fleet_file(&self) -> Result<FleetLoad, CommandError> {
        FleetFile::load(&self.fleet_file)
            .map_err(|problems| CommandError::usage(format!("the fleet file cannot be used: {problems}")))
    }

    pub(crate) fn fleet_file_path(&self) -> &Path {
        &self.fleet_file
    }

    pub(crate) fn broker_settings(&self) -> BrokerSettings {
        self.settings.broker.clone().named(&self.operator)
    }

    /// RabbitMQ, within the connect timeout.
    pub(crate) async fn broker(&self) -> anyhow::Result<Broker> {
        Ok(Broker::connect(self.broker_settings()).await?)
    }

    /// The register, read whole.
    pub(crate) async fn register(&self, broker: &Broker) -> anyhow::Result<Register> {
        let register = Register::follow(broker);
        register.sync(FIRST_READ).await.context("the register cannot be read")?;
        Ok(register)
    }

    /// The newest of what `pick` makes of the ledger until now, oldest first. Entries carry logs, so only these are kept.
    pub(crate) async fn past<T>(
        &self,
        broker: &Broker,
        at_most: usize,
        pick: impl Fn(&LedgerEntry) -> Option<T>,
    ) -> anyhow::Result<VecDeque<T>> {
        let reading = async {
            let mut ledger = Ledger::until_now(broker, ReadFrom::First).await?;
            let mut picked = VecDeque::new();
            while let Some(entry) = ledger.next().await {
                picked.extend(pick(&entry));
                if picked.len() > at_most {
                    picked.pop_front();
                }
            }
            anyhow::Ok(picked)
        };
        tokio::time::timeout(LEDGER_READ, reading).await.context("it could not be read in time")?
    }

    /// Daytona, where there is a key.
    pub(crate) fn daytona(&self) -> Option<anyhow::Result<Client>> {
        let settings = self.settings.daytona.clone()?;
        Some(Client::new(settings).context("the Daytona client could not be set up"))
    }

    /// Git hosts.
    pub(crate) fn remote() -> anyhow::Result<Remote> {
        Ok(Remote::new(Timeouts::default())?)
    }

    /// The credential for a repository, as a worker with this environment would use it.
    pub(crate) fn credential(&self, settings: &Settings) -> Option<Credential> {
        let token = self.secrets.get(&settings.clone.token_secret).ok()?;
        Some(Credential { user: Some(settings.clone.user.clone()), token })
    }
}
