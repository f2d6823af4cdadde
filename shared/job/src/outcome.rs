//! How an attempt ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Failure, JobId, PrebuildRecord};

/// How an attempt ended; what follows from it is [`crate::decide`]'s business.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A complete prebuild was promoted.
    Built(PrebuildRecord),
    /// A prebuild with dependencies in but a failed build script was promoted.
    Partial {
        /// What was promoted.
        prebuild: PrebuildRecord,
        /// Why the build script failed.
        failure: Failure,
    },
    /// The promoted prebuild already is this commit and fingerprint.
    Unchanged(PrebuildRecord),
    /// There is no room for another prebuild; the next tick looks again.
    OverQuota,
    /// It failed for good before, and nothing has changed since.
    StillFailing(Failure),
    /// A later tick was fired already.
    Superseded,
    /// Another attempt holds the lease.
    Busy {
        /// Whose job the holder works on, when its labels say.
        holder_job: Option<JobId>,
    },
    /// An operator cancelled it.
    Cancelled,
    /// The target is paused.
    Paused,
    /// The worker is leaving before the attempt could end.
    Interrupted,
    /// The sandbox or the delivery is another's now.
    LeaseLost,
    /// It failed.
    Failed(Failure),
}

/// An outcome without its particulars: the word in metrics, logs, the ledger and on terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// See [`Outcome::Built`].
    Built,
    /// See [`Outcome::Partial`].
    Partial,
    /// See [`Outcome::Unchanged`].
    Unchanged,
    /// See [`Outcome::OverQuota`].
    OverQuota,
    /// See [`Outcome::StillFailing`].
    StillFailing,
    /// See [`Outcome::Superseded`].
    Superseded,
    /// See [`Outcome::Busy`].
    Busy,
    /// See [`Outcome::Cancelled`].
    Cancelled,
    /// See [`Outcome::Paused`].
    Paused,
    /// See [`Outcome::Interrupted`].
    Interrupted,
    /// See [`Outcome::LeaseLost`].
    LeaseLost,
    /// See [`Outcome::Failed`].
    Failed,
}

impl Outcome {
    /// Its word.
    pub fn word(&self) -> OutcomeWord {
        match self {
            Self::Built(_) => OutcomeWord::Built,
            Self::Partial { .. } => OutcomeWord::Partial,
            Self::Unchanged(_) => OutcomeWord::Unchanged,
            Self::OverQuota => OutcomeWord::OverQuota,
            Self::StillFailing(_) => OutcomeWord::StillFailing,
            Self::Superseded => OutcomeWord::Superseded,
            Self::Busy { .. } => OutcomeWord::Busy,
            Self::Cancelled => OutcomeWord::Cancelled,
            Self::Paused => OutcomeWord::Paused,
            Self::Interrupted => OutcomeWord::Interrupted,
            Self::LeaseLost => OutcomeWord::LeaseLost,
            Self::Failed(_) => OutcomeWord::Failed,
        }
    }

    /// The failure, when there is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::StillFailing(failure) | Self::Partial { failure, .. } => {
                Some(failure)
            }
            Self::Built(_)
            | Self::Unchanged(_)
            | Self::OverQuota
            | Self::Superseded
            | Self::Busy { .. }
            | Self::Cancelled
            | Self::Paused
            | Self::Interrupted
            | Self::LeaseLost => None,
        }
    }

    /// The prebuild that sessions are given after it, when the attempt knows.
    pub fn prebuild(&self) -> Option<&PrebuildRecord> {
        match self {
            Self::Built(prebuild) | Self::Partial { prebuild, .. } | Self::Unchanged(prebuild) => {
                Some(prebuild)
            }
            Self::Failed(_)
            | Self::StillFailing(_)
            | Self::OverQuota
            | Self::Superseded
            | Self::Busy { .. }
            | Self::Cancelled
            | Self::Paused
            | Self::Interrupted
            | Self::LeaseLost => None,
        }
    }
}

impl OutcomeWord {
    /// Every word.
    pub const ALL: [Self; 12] = [
        Self::Built,
        Self::Partial,
        Self::Unchanged,
        Self::OverQuota,
        Self::StillFailing,
        Self::Superseded,
        Self::Busy,
        Self::Cancelled,
        Self::Paused,
        Self::Interrupted,
        Self::LeaseLost,
        Self::Failed,
    ];

    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Partial => "partial",
            Self::Unchanged => "unchanged",
            Self::OverQuota => "over_quota",
            Self::StillFailing => "still_failing",
            Self::Superseded => "superseded",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::LeaseLost => "lease_lost",
            Self::Failed => "failed",
        }
    }

    /// Whether it changed nothing and is told in batches only.
    pub fn is_no_op(self) -> bool {
        matches!(self, Self::Unchanged | Self::StillFailing | Self::Superseded | Self::Busy | Self::Paused)
    }

    /// Whether sessions have a prebuild of the wanted commit after it.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Built | Self::Partial | Self::Unchanged)
    }
}

impl fmt::Display for OutcomeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
