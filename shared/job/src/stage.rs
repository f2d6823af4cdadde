//! The steps of an attempt, in the order they run.

use serde::{Deserialize, Serialize};

/// One step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Which commit is wanted, and is it built already?
    Resolve,
    /// A sandbox of this target's name: the lease.
    Provision,
    /// The commit on its branch under `/workspace/<name>`.
    Checkout,
    /// Files to recipe.
    Detect,
    /// The exact Node and package manager.
    Toolchain,
    /// Dependencies.
    Install,
    /// The build script.
    Build,
    /// Secrets and run files out, manifest in.
    Scrub,
    /// Sandbox to snapshot.
    Capture,
    /// A sandbox from the snapshot holds what the manifest says.
    Verify,
    /// The register points at it.
    Promote,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 11] = [
        Self::Resolve,
        Self::Provision,
        Self::Checkout,
        Self::Detect,
        Self::Toolchain,
        Self::Install,
        Self::Build,
        Self::Scrub,
        Self::Capture,
        Self::Verify,
        Self::Promote,
    ];

    /// The word used in logs, spans, metrics and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Provision => "provision",
            Self::Checkout => "checkout",
            Self::Detect => "detect",
            Self::Toolchain => "toolchain",
            Self::Install => "install",
            Self::Build => "build",
            Self::Scrub => "scrub",
            Self::Capture => "capture",
            Self::Verify => "verify",
            Self::Promote => "promote",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
