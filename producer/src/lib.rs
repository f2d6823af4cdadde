//! The clock of the fleet: at every tick, one job for each target, published and confirmed.
//!
//! Any number of producers run; one is active, holding the broker's lock, and another takes over when it goes. The ids of
//! a tick's jobs are the same whoever makes them, so whatever is published twice is built once. Building, retrying and
//! operators' acts do not belong here.

mod base;
pub mod cli;
mod clock;
mod dry_run;
mod due;
mod fire;
mod fleet_file_watcher;
mod keeper;
mod metrics;
mod once;
mod plan;
mod room;
mod run;
mod schedule;
mod settings;

pub use clock::Clock;
pub use dry_run::{DryRun, DryRunError, dry_run};
pub use due::{Due, Firing, due};
pub use fire::FireError;
pub use fleet_file_watcher::{FleetFileWatcher, Reload};
pub use keeper::{Idle, KeeperSection};
pub use metrics::{ProducerMetrics, Role};
pub use once::once;
pub use room::{BrokerLoad, Flow, Room, SkipReason, check_room};
pub use run::{ProducerError, RunContext, run};
pub use settings::{PlanSettings, ProducerSettings, ScheduleSection};
