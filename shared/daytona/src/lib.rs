//! A typed client for the part of the Daytona API that the fleet uses.
//!
//! Daytona changes under its users, so everything that knows its wire format, its error texts and its traps
//! is in this crate and nowhere else. It knows nothing of jobs. What must hold: a call that may have had an
//! effect is never repeated blindly, every wait has a deadline, and no secret reaches an error or a span.

#![warn(missing_docs)]

mod account;
mod base;
mod base_lookup;
mod capture;
mod class;
mod client;
mod errors;
mod ids;
mod key_gate;
mod lenient;
mod list;
mod operation;
pub mod pace;
mod restart;
mod sandbox;
mod sandbox_calls;
mod snapshot;
mod snapshot_calls;
mod span;
mod start;
mod states;
mod toolbox;
mod upload;
mod wait;
mod wire;

pub use account::{ApiKey, Permission, Region};
pub use backoff::{Backoff, Pauses};
pub use base::BaseError;
pub use base_lookup::{BaseFinding, BaseIds, BaseLookupError};
pub use capture::{CaptureError, CaptureLimits};
pub use class::SandboxClass;
pub use client::{Client, ClientSettings, DaytonaSection, SettingsError, TracePropagation};
pub use errors::{Error, ErrorKind, Exceeded, Message, Resource, Retry, Sent};
pub use ids::{OrganizationId, SandboxId, SnapshotId};
pub use key_gate::{KeyCheck, KeyGate};
pub use operation::{Method, Operation};
pub use restart::RestartError;
pub use sandbox::{NewSandbox, Sandbox};
pub use sandbox_calls::{CreateOutcome, DeleteOutcome};
pub use snapshot::{SLEEPS_AFTER, Snapshot};
pub use start::StartError;
pub use states::{SandboxState, SnapshotState};
pub use toolbox::{Execute, ExecuteError, Executed, Toolbox};
pub use upload::Upload;
pub use wait::DeleteError;
