//! Defaults, files and the environment (`.env` too) read into one struct per program.
//!
//! Every mistake is reported at once, with its file and line or its variable; an unknown key refuses to start, so
//! that a typo never becomes a default. Secrets come from the environment only and are `SecretString` from there
//! on. This is the only crate that reads the environment. What a setting *does* does not belong here.

#![warn(missing_docs)]

mod effective;
mod environment;
mod fleet_file;
mod layers;
mod operator;
mod problem;
mod producer;
mod secrets;
mod sections;
mod worker;

pub use effective::{Effective, EffectiveEntry};
pub use environment::{EnvFileError, Environment};
pub use fleet_file::{DEFAULT_EVERY, FleetFile, FleetLoad};
pub use operator::OperatorSettings;
pub use problem::{Mistake, Place, Problem, Problems};
pub use producer::{PlanSettings, ProducerSettings, ScheduleSettings};
pub use secrets::{SecretRefusal, Secrets, reserved};
pub use sections::{BrokerSettings, DaytonaSettings, HttpSettings, LogFormat, TelemetrySettings};
pub use worker::{
    ClassSettings, CommandSettings, DrainSettings, LeaseSettings, LedgerSettings, PrebuildSettings,
    QueueName, SandboxSettings, ToolchainMirrors, WorkerSettings,
};
