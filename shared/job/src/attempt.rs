//! What a message remembers of the attempts behind it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{AttemptId, FailureKind, OutcomeWord, Stage};

/// One earlier attempt, as it travels in the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// Its number.
    pub number: u32,
    /// Its id.
    pub attempt: AttemptId,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How.
    pub outcome: OutcomeWord,
    /// The failure's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
    /// Where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The worker.
    pub worker: String,
}

/// What an attempt saw of a lease that is not its own, so that the next can tell whether the holder is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSeen {
    /// The sandbox.
    pub sandbox: String,
    /// The holder's attempt and generation and its beat, as one text: any change is a sign of life.
    pub sign: String,
    /// When this was first seen.
    pub since: DateTime<Utc>,
}
