//! How an attempt ended.

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

use crate::{Failure, JobId, PrebuildRecord};

/// How an attempt ended; what follows from it is [`crate::decide`]'s business.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A complete prebuild was promoted.
    Built(PrebuildRecord),
    /// A prebuild with dependencies in but a failed build script was promoted.
    Partial {
        /// The prebuild that was promoted without build output.
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
    /// It failed, and what follows depends on the failure.
    Failed(Failure),
}

/// An outcome without its particulars: the word in metrics, logs, the ledger and on terminals.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OutcomeWord {
    /// The word for [`Outcome::Built`].
    Built,
    /// The word for [`Outcome::Partial`].
    Partial,
    /// The word for [`Outcome::Unchanged`].
    Unchanged,
    /// The word for [`Outcome::OverQuota`].
    OverQuota,
    /// The word for [`Outcome::StillFailing`].
    StillFailing,
    /// The word for [`Outcome::Superseded`].
    Superseded,
    /// The word for [`Outcome::Busy`].
    Busy,
    /// The word for [`Outcome::Cancelled`].
    Cancelled,
    /// The word for [`Outcome::Paused`].
    Paused,
    /// The word for [`Outcome::Interrupted`].
    Interrupted,
    /// The word for [`Outcome::LeaseLost`].
    LeaseLost,
    /// The word for [`Outcome::Failed`].
    Failed,
}

impl Outcome {
    /// The word for it, without its particulars.
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
    /// The word as metrics, logs and the ledger have it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it changed nothing, and so is reported to the ledger in batches only.
    pub fn is_no_op(self) -> bool {
        matches!(self, Self::Unchanged | Self::StillFailing | Self::Superseded | Self::Busy | Self::Paused)
    }

    /// Whether sessions have a prebuild of the wanted commit after it.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Built | Self::Partial | Self::Unchanged)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn the_word_is_the_same_on_the_wire_and_in_logs() {
        for word in OutcomeWord::VARIANTS {
            assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
        }
    }
}
