//! The active producer's second duty: what has to be done for the fleet as a whole, by one process at a time.
//!
//! Each duty is a loop of its own that is dropped with the lock, at whatever it was about. So each act is one that may be
//! repeated, by this keeper or the next, and that a keeper which does not know yet that it is none may still do.

mod awake;
mod checkpointing;
mod collecting;
mod measuring;
mod recovering;
mod retiring;
mod section;
mod seen;
mod sleeping;
mod sweeping;
mod warming;

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Publisher, Register};
use daytona::Client;
use job::{FleetName, Settings, Target};
use lease::LeaseSection;
use tokio::sync::watch;

pub(crate) use self::awake::Awakenings;
pub use self::section::{Idle, KeeperSection};
pub(crate) use self::seen::SeenSandboxes;
pub(crate) use self::sleeping::SleepingPrebuilds;
use crate::{Clock, ProducerMetrics};

/// How long the register may take to show everything that was written before.
const REGISTER_READ: Duration = Duration::from_mins(2);

/// The targets that the fleet file lists, as last understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedTargets {
    pub(crate) targets: Vec<(Target, Settings)>,
    /// How often the schedule fires.
    pub(crate) every: Duration,
    /// Entries that could not be used: a target that is not among the others may be one of these.
    pub(crate) problems: usize,
}

/// None while no good file was ever seen.
pub(crate) type Listing = watch::Receiver<Option<Arc<ListedTargets>>>;

/// What the duties are done with.
pub(crate) struct Keeper {
    pub(crate) fleet: FleetName,
    pub(crate) section: KeeperSection,
    pub(crate) lease: LeaseSection,
    pub(crate) broker: Broker,
    pub(crate) register: Register,
    /// The lock's own: who is not the active producer any more publishes nothing.
    pub(crate) publisher: Publisher,
    /// None without a key: then nothing in Daytona is looked after.
    pub(crate) client: Option<Client>,
    pub(crate) listing: Listing,
    pub(crate) clock: Clock,
    pub(crate) metrics: ProducerMetrics,
    /// What is seen of sandboxes, for who publishes jobs.
    pub(crate) seen: SeenSandboxes,
    /// The promoted prebuilds that sleep, as last looked at.
    pub(crate) sleeping: SleepingPrebuilds,
    /// The starts that this keeper made to keep prebuilds awake.
    pub(crate) awakenings: Awakenings,
}

impl Keeper {
    /// Does once what takes no second look: a producer that fires one tick and leaves does that much for the fleet.
    pub(crate) async fn run_once(&self) {
        checkpointing::write_if_due(&self.register, &self.publisher, &self.clock).await;
        self.collect_and_leave().await;
        self.keep_awake_and_leave().await;
    }

    /// Does every duty for as long as it is let.
    pub(crate) async fn run(&self) {
        tokio::join!(
            checkpointing::run(&self.register, &self.publisher, &self.clock),
            self.measure(),
            recovering::run(&self.fleet, &self.register, self.client.as_ref(), &self.listing),
            self.sweep(),
            self.collect(),
            self.keep_awake(),
            self.warm(),
            self.retire(),
        );
    }
}
