//! Failures: a stable id, the stage, whose fault it is, and what else it touches.
//!
//! Nothing is retryable by default: what follows from a failure is decided from its blame and scope alone (see `decision`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use thiserror::Error;

use crate::{Stage, Tail};

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Blame {
    /// The repository's: a person must change it.
    Repository,
    /// A service we use was unwell; it may be well again soon.
    Upstream,
    /// There was no room.
    Capacity,
    /// The build needs more memory, disk or time than it was given.
    Resources,
    /// A key, a permission or a mirror is missing.
    Configuration,
    /// The fleet's own: a bug, or a promise it broke.
    Ours,
}

/// What a failure touches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This target and no other.
    Target,
    /// Everything that uses Daytona.
    Daytona,
    /// Everything that uses RabbitMQ.
    Broker,
    /// Everything on this git host with this credential.
    GitHost(String),
    /// Everything that uses this registry.
    Registry,
}

macro_rules! failure_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal, $stage:ident, $blame:ident;)+) => {
        /// Every way an attempt can fail, by its stable id. One row each: id, the stage it belongs to, blame.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Display, EnumString, IntoStaticStr, VariantArray)]
        #[strum(parse_err_ty = UnknownFailureKind, parse_err_fn = UnknownFailureKind::of)]
        #[non_exhaustive]
        pub enum FailureKind {
            $($(#[doc = $doc])+ #[strum(serialize = $id)] $variant,)+
        }

        impl FailureKind {
            /// All of them, in stage order.
            pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

            /// The id used in messages, metrics, logs and the register; never changes its meaning.
            pub fn id(self) -> &'static str {
                self.into()
            }

            /// The stage it usually belongs to.
            pub fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)+ }
            }

            /// Whose fault it is.
            pub fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)+ }
            }
        }
    };
}

failure_kinds! {
    /// The repository does not exist, or the credential may not see it.
    CloneRepositoryMissing = "clone.repository_missing", Resolve, Configuration;
    /// The git host refused the credential.
    CloneAuth = "clone.auth", Resolve, Configuration;
    /// The git host sends on to another URL, where the token is not sent.
    CloneMoved = "clone.moved", Resolve, Configuration;
    /// The branch does not exist.
    CloneBranchMissing = "clone.branch_missing", Resolve, Repository;
    /// The git host did not answer, or with a server error.
    CloneHostUnavailable = "clone.host_unavailable", Resolve, Upstream;
    /// The git host asks for fewer requests.
    CloneRateLimited = "clone.rate_limited", Resolve, Capacity;
    /// Git said something nobody has classified.
    CloneFailed = "clone.failed", Checkout, Upstream;
    /// The fetch took longer than it may.
    CloneTimeout = "clone.timeout", Checkout, Resources;
    /// A submodule or LFS object could not be had.
    CloneIncomplete = "clone.incomplete", Checkout, Repository;
    /// The job asks for a secret that no rule of the worker's settings gives to its repository.
    SecretNoRule = "secret.no_rule", Resolve, Configuration;
    /// The register in RabbitMQ could not be read or written.
    RegisterUnavailable = "register.unavailable", Resolve, Upstream;
    /// The sandbox name is taken by something that is not this fleet's.
    ProvisionNameTaken = "provision.name_taken", Provision, Configuration;
    /// Daytona has no room just now.
    ProvisionNoCapacity = "provision.no_capacity", Provision, Capacity;
    /// Daytona refused the key or the organization.
    DaytonaUnauthorized = "daytona.unauthorized", Provision, Configuration;
    /// The organization is suspended.
    DaytonaSuspended = "daytona.suspended", Provision, Configuration;
    /// Daytona asks for fewer requests.
    DaytonaRateLimited = "daytona.rate_limited", Provision, Capacity;
    /// Daytona did not answer, or with a server error.
    DaytonaUnavailable = "daytona.unavailable", Provision, Upstream;
    /// Daytona answered something this version does not understand.
    DaytonaUndecodable = "daytona.undecodable", Provision, Ours;
    /// The base snapshot does not exist or is not active.
    ProvisionBaseMissing = "provision.base_missing", Provision, Configuration;
    /// Sandboxes are asked for in a region that Daytona does not have.
    ProvisionRegionMissing = "provision.region_missing", Provision, Configuration;
    /// The sandbox ended in an error before it was ready.
    ProvisionFailed = "provision.failed", Provision, Upstream;
    /// A version file or package.json cannot be read.
    DetectInvalid = "detect.invalid", Detect, Repository;
    /// The repository needs something this version cannot install; commands set by hand can.
    DetectUnsupported = "detect.unsupported", Detect, Repository;
    /// The version that is asked for does not exist.
    ToolchainVersionUnknown = "toolchain.version_unknown", Toolchain, Repository;
    /// The registry or mirror that has the toolchain could not be reached.
    ToolchainUnavailable = "toolchain.unavailable", Toolchain, Upstream;
    /// What was downloaded is not what was pinned.
    ToolchainChecksum = "toolchain.checksum", Toolchain, Repository;
    /// The toolchain is in place, but shells of the sandbox find another: the base snapshot's PATH is wrong.
    ToolchainNotOnPath = "toolchain.not_on_path", Toolchain, Configuration;
    /// The lockfile does not match the manifest file, and the plain install failed as well.
    InstallLockfileOutOfSync = "install.lockfile_out_of_sync", Install, Repository;
    /// A package or version does not exist.
    InstallPackageMissing = "install.package_missing", Install, Repository;
    /// A package is not what the lockfile pins.
    InstallChecksum = "install.checksum", Install, Repository;
    /// Versions contradict each other, or the engine or platform is refused.
    InstallIncompatible = "install.incompatible", Install, Repository;
    /// A dependency's or the project's install script failed.
    InstallScriptFailed = "install.script_failed", Install, Repository;
    /// A secret that fleet.toml names is not set in the worker's environment, or is one no build is given.
    SecretUnavailable = "install.secret_unavailable", Install, Configuration;
    /// A registry refused the credential.
    InstallAuth = "install.auth", Install, Configuration;
    /// A registry did not answer, or with a server error.
    InstallRegistryUnavailable = "install.registry_unavailable", Install, Upstream;
    /// Install failed for a reason nobody has classified; taken for the repository's.
    InstallFailed = "install.failed", Install, Repository;
    /// The build script exited with an error.
    BuildFailed = "build.failed", Build, Repository;
    /// The build needed the network and it failed.
    BuildNetwork = "build.network", Build, Upstream;
    /// The kernel ended a process for want of memory.
    OutOfMemory = "resources.out_of_memory", Install, Resources;
    /// The disk is full.
    NoSpace = "resources.no_space", Install, Resources;
    /// A stage took longer than it may.
    StageDeadline = "resources.deadline", Build, Resources;
    /// A known secret was found in what would have been captured.
    ScrubSecretFound = "scrub.secret_found", Scrub, Repository;
    /// Install or build changed what was put there before them: a tool, git's own configuration.
    ScrubTampered = "scrub.tampered", Scrub, Repository;
    /// What install or build left could not be cleaned up or read before the capture.
    ScrubFailed = "scrub.failed", Scrub, Repository;
    /// Daytona made no snapshot and said nothing.
    CaptureSilent = "capture.silent_failure", Capture, Upstream;
    /// Daytona said that the snapshot failed.
    CaptureFailed = "capture.failed", Capture, Upstream;
    /// The snapshot took longer than it may.
    CaptureTimeout = "capture.timeout", Capture, Upstream;
    /// A sandbox from the new snapshot does not hold what its manifest says.
    VerifyMismatch = "verify.mismatch", Verify, Ours;
    /// The verify command exited with an error.
    VerifyCommandFailed = "verify.command_failed", Verify, Repository;
    /// No sandbox could be started from the new snapshot.
    VerifyStart = "verify.start_failed", Verify, Upstream;
    /// An operator withdrew what was being built.
    PromoteRevoked = "promote.revoked", Promote, Upstream;
    /// Daytona says that the sandbox is gone, or runs no more.
    SandboxLost = "sandbox.lost", Build, Upstream;
    /// The sandbox was lost again at the same commit and fingerprint, while others of the fleet live.
    SandboxLostAgain = "sandbox.lost_again", Build, Repository;
    /// Daytona says that the sandbox runs, and it cannot be worked with: what was installed or built stands in the way.
    SandboxUnusable = "sandbox.unusable", Build, Resources;
    /// The lease of another attempt was never given up.
    LeaseNeverFree = "lease.never_free", Provision, Ours;
    /// The job was delivered again and again and no worker survived it.
    WorkerCrashed = "worker.crashed", Provision, Ours;
    /// A bug: a panic or a broken promise of our own code.
    Internal = "internal", Provision, Ours;
}

/// An id no version of this program has used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a failure id")]
pub struct UnknownFailureKind(String);

impl UnknownFailureKind {
    fn of(text: &str) -> Self {
        Self(crate::truncate(text, 60))
    }
}

impl Serialize for FailureKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for FailureKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not derived: the error for an id of a newer version would list every one of this version.
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One failure, as it is recorded everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which failure it is; whose fault follows from it.
    pub id: FailureKind,
    /// The stage it happened at.
    pub stage: Stage,
    /// What else it touches.
    pub scope: Scope,
    /// One sentence for a person, with what to do; no secrets.
    pub message: String,
    /// The command's exit code, when a command failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of the command's output, scrubbed of secrets.
    #[serde(default, skip_serializing_if = "Tail::is_empty")]
    pub log_tail: Tail,
    /// What the service said about when to come back.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Bytes of the message that are kept.
    pub const MAX_MESSAGE: usize = 1024;

    /// A failure of this target at the stage its kind belongs to.
    pub fn new(id: FailureKind, message: impl AsRef<str>) -> Self {
        Self {
            id,
            stage: id.stage(),
            scope: Scope::Target,
            message: crate::truncate(message.as_ref(), Self::MAX_MESSAGE),
            exit_code: None,
            log_tail: Tail::default(),
            retry_after: None,
        }
    }

    /// The same failure at another stage than its kind's usual one.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// The same failure with a wider scope than its target.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// With the end of a command's output.
    #[must_use]
    pub fn with_output(mut self, exit_code: Option<i32>, log_tail: Tail) -> Self {
        self.exit_code = exit_code;
        self.log_tail = log_tail;
        self
    }

    /// With the delay a service asked for.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        self.id.blame()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.id, self.stage, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_round_trip() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in FailureKind::ALL {
            assert!(seen.insert(kind.id()), "{kind} stands twice");
            assert_eq!(kind.id().parse::<FailureKind>().unwrap(), *kind);
        }
        assert!("nonsense".parse::<FailureKind>().is_err());
    }

    #[test]
    fn the_whole_table_of_blame() {
        let table: Vec<String> = FailureKind::ALL
            .iter()
            .map(|kind| format!("{kind} {} {:?}", kind.stage(), kind.blame()))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}
