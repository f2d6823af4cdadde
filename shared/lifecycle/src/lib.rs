//! How a program of the fleet lives and dies: signals become cancellation, a drain has a deadline, tasks have
//! names and owners, and one small HTTP endpoint tells the platform how the process is.
//!
//! Nothing here is global and nothing is detached: listeners and shutdown are arguments, so any number of
//! programs run in one process and one test. What a program does while draining does not belong here.

#![warn(missing_docs)]

mod bind;
mod endpoint;
mod health;
mod healthcheck;
mod section;
mod shutdown;
mod signals;
mod tasks;

pub use bind::{BindError, bind};
pub use endpoint::Endpoint;
pub use health::{Condition, Health, Heartbeat, Readiness};
pub use healthcheck::{HealthcheckError, healthcheck};
pub use section::{DrainSection, HttpSection};
pub use shutdown::{Drain, FAREWELL, Farewell, Shutdown};
pub use signals::{Lifecycle, SignalError};
pub use tasks::{TaskEnd, TaskEndReport, TaskGroup, TaskOutput, TasksFailed};
