//! The worker: takes one job to its end. Follow a job by file names: `consume` -> `process` -> `stages/*` -> `settle`.
//!
//! Decisions are `job::decide`'s; this crate does the I/O around them. Nothing is static, so that two workers fit in one
//! process and one test.

mod attempt;
mod base;
mod captured_records;
mod consume;
mod early_end;
mod failures;
mod given_secrets;
mod job_secrets;
mod lease;
mod ledger_writer;
mod losses;
mod metrics;
mod others;
mod process;
mod run;
pub mod sandbox;
mod sandbox_opener;
mod settings;
mod settle;
pub mod stages;
mod target_register;
mod wiring;

pub use early_end::{EarlyEnd, ResolveAgain};
pub use run::{WorkerError, run};
pub use settings::{WorkerFile, WorkerSettings};
