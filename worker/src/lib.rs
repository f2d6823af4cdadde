//! The worker: takes one job to its end. Follow a job by file names: `consume` -> `process` -> `stages/*` -> `settle`.
//!
//! Decisions are `job::decide`'s; this crate does the I/O around them. Nothing is static, so that two workers fit in one
//! process and one test.

mod attempt;
mod base;
mod consume;
mod early_end;
mod failures;
mod lease;
mod metrics;
mod parts;
mod process;
mod run;
pub mod sandbox;
mod settings;
mod settle;
pub mod stages;
mod story;
mod sweeper;

pub use early_end::{EarlyEnd, ResolveAgain};
pub use run::{WorkerError, run};
pub use settings::{WorkerFile, WorkerSettings};
