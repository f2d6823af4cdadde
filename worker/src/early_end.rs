//! What ends an attempt before its last stage: the error type of everything under `process`, carried by `?`.

use job::{Failure, Outcome};

/// Why a stage, and with it the round or the whole attempt, does not go on.
#[derive(Debug)]
pub enum EarlyEnd {
    /// The attempt is over, with this outcome.
    Outcome(Box<Outcome>),
    /// What was resolved is not to be had any more; the attempt goes on with another round.
    ResolveAgain(ResolveAgain),
}

/// What changed since it was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolveAgain {
    /// The branch was pushed over, and the host no longer gives the wanted commit away.
    CommitGone,
    /// The base snapshot was deleted or put to sleep.
    BaseGone,
    /// Another attempt promoted a prebuild that this one did not know of.
    PromotedMeanwhile,
}

impl EarlyEnd {
    /// The failure that the attempt ends with, when it ends with one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Outcome(outcome) => outcome.failure(),
            Self::ResolveAgain(_) => None,
        }
    }
}

impl From<Outcome> for EarlyEnd {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl From<Failure> for EarlyEnd {
    fn from(failure: Failure) -> Self {
        Outcome::Failed(failure).into()
    }
}

impl From<ResolveAgain> for EarlyEnd {
    fn from(reason: ResolveAgain) -> Self {
        Self::ResolveAgain(reason)
    }
}
