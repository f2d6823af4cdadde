//! What both sides of the queue must agree on: targets, jobs, recipes, manifests, outcomes, and the decisions that follow.
//!
//! Everything here is pure: values in, values out, no I/O and no async, so every rule is tested as a table.
//! What does not belong here: anything that talks to RabbitMQ, Daytona, git or a clock (times are arguments).
#![warn(missing_docs)]

mod attempt;
mod decision;
mod digits;
mod envelope;
mod failure;
mod fingerprint;
mod id;
mod job_id;
mod ledger;
mod manifest;
mod message;
mod name;
mod outcome;
mod policy;
mod prebuild;
mod recipe;
mod register;
mod repository_url;
mod settings;
mod stage;
mod target;
mod text;

pub use attempt::{AttemptSummary, LeaseSeen};
pub use decision::{Decision, DeliveryFacts, NextAttempt, decide};
pub use envelope::{CutMessage, DeadLetterReason, DeadLetterRecord, Envelope, MAX_HISTORY};
pub use failure::{Blame, Failure, FailureKind, Scope, UnknownFailureKind};
pub use fingerprint::{DETECTION_VERSION, Fingerprint, FingerprintInputs};
pub use id::{AttemptId, Commit, InvalidAttemptId, InvalidCommit, Tick};
pub use job_id::JobId;
pub use ledger::{AttemptEnd, LedgerEntry, LedgerEvent, NoOp};
pub use manifest::{
    Baseline, LockfileHash, MANIFEST_PATH, MANIFEST_VERSION, Manifest, StageReport, ToolVersion,
};
pub use message::{JOB_VERSION, Job, JobDecodeError, MAX_JOB_BYTES, Reason};
pub use name::{
    BuildMode, FleetName, InvalidName, NAMES_OF_A_TARGET, PREBUILD_NAME_MAX, PrebuildName, SandboxName,
};
pub use outcome::{Outcome, OutcomeWord};
pub use policy::{InvalidRetryPolicy, RetryPolicy};
pub use prebuild::{Completeness, GROWN, PrebuildRecord, has_grown};
pub use recipe::{
    CommandStep, PackageManager, PackageManagerKind, Recipe, Skipped, Source, SourceUse, Toolchain,
};
pub use register::{
    AccountEntry, AccountState, CapturedPrebuild, Concern, DueRetirements, EntryFormat, EntryVersion,
    FleetState, Folded, FoundPrebuild, GoneTarget, KeyRefusal, LastAttempt, LimitMet, Listing, LostSandbox,
    OpenDeadLetter, Pause, Promotion, Provenance, RegisterEntry, Resource, Revocation, Revoked, SecretsCheck,
    SnapshotCondition, StaleReason, StandingFailure, Superfluous, TargetEntry, TargetFold, TargetState,
    UnknownFormat, Writing, due_retirements, listing_changes,
};
pub use repository_url::{RepositoryUrl, UnclearUrl, UrlScheme};
pub use settings::{
    CheckoutSettings, CloneSettings, CommandSetting, Commands, Settings, Timeouts, ToolchainSettings,
};
pub use stage::Stage;
pub use target::{DEFAULT_HOST, InvalidTarget, Target};
pub use text::{Tail, truncate};
