//! Whose behaviour a server shows: the version of Daytona, what that version has, and the limits and costs that tests turn
//! on because waiting for the real ones would take them minutes.
//!
//! Every answer was compared with a v0.190.0 built from its source; what 0.226 adds is read from its public clients.

use std::time::Duration;

use clap::ValueEnum;

/// The Daytona version whose behaviour a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Manner {
    /// The last version that is open source: no ttl, and a snapshot's row appears only after a capture.
    #[value(name = "v0.190")]
    V0_190,
    /// The version of the clients of November 2026: ttl, queue timeouts, a snapshot's row from the capture's beginning.
    #[value(name = "v0.226")]
    V0_226,
}

impl Manner {
    /// As the answers' version header has it.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::V0_190 => "v0.190.0",
            Self::V0_226 => "v0.226.1",
        }
    }

    /// Whether it knows ttlMinutes, queueTimeout, kvm, `/ttl`, the toolbox's `/env`, and names the source of a refusal.
    pub(crate) fn is_recent(self) -> bool {
        match self {
            Self::V0_190 => false,
            Self::V0_226 => true,
        }
    }
}

/// How many failed authentications lock an address out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAuthentications {
    /// The failure that locks.
    pub limit: u32,
    /// How long failures count together, and how long the lock then holds.
    pub period: Duration,
}

/// What takes long in production because image layers travel; nothing here unless a test says so.
#[derive(Debug, Clone, Copy)]
pub struct Transfers {
    /// For a capture, per megabyte that the sandbox wrote on top of what it was started from. Seen: 0.1 s.
    pub capture_per_megabyte: Duration,
    /// For a snapshot's first start on each runner, per such megabyte. Seen: 0.02 s.
    pub pull_per_megabyte: Duration,
    /// How many runners take sandboxes in turn.
    pub runners: u32,
}

impl Default for Transfers {
    fn default() -> Self {
        Self { capture_per_megabyte: Duration::ZERO, pull_per_megabyte: Duration::ZERO, runners: 1 }
    }
}
