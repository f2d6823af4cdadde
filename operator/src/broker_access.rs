//! RabbitMQ, for the commands that cannot do without it and those that can. Everything read from it has a bound.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, BrokerSettings, Ledger, ReadFrom, Register};
use job::LedgerEntry;

/// How long the register may take to be read whole.
pub(crate) const REGISTER_READ: Duration = Duration::from_secs(30);
/// How long the ledger may take to be read whole.
const LEDGER_READ: Duration = Duration::from_mins(1);

/// The way to RabbitMQ; nothing is opened before a command asks.
#[derive(Debug)]
pub(crate) struct BrokerAccess {
    settings: BrokerSettings,
}

impl BrokerAccess {
    pub(crate) fn new(settings: BrokerSettings) -> Self {
        Self { settings }
    }

    pub(crate) fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// Connects within the connect timeout.
    pub(crate) async fn connect(&self) -> anyhow::Result<Broker> {
        Ok(Broker::connect(self.settings.clone()).await?)
    }

    /// Connects, and reads the register.
    pub(crate) async fn connect_with_register(&self) -> anyhow::Result<(Broker, Register)> {
        let broker = self.connect().await?;
        let register = read_register(&broker).await?;
        Ok((broker, register))
    }
}

/// Reads the register whole.
pub(crate) async fn read_register(broker: &Broker) -> anyhow::Result<Register> {
    let register = Register::follow(broker);
    register.sync(REGISTER_READ).await.context("the register cannot be read")?;
    Ok(register)
}

/// Reads the ledger until now, and answers the newest of what `pick` makes of it, oldest first. Entries carry logs, so only
/// these are kept.
pub(crate) async fn read_ledger<T>(
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
