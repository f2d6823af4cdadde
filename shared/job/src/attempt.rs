//! What a message remembers of the attempts behind it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{AttemptId, FailureKind, OutcomeWord, Stage};

/// One earlier attempt, as it travels in the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// Its number among the job's attempts, from 1.
    pub number: u32,
    /// The id that its sandbox and its spans carry.
    pub attempt: AttemptId,
    /// When its outcome was known.
    pub ended_at: DateTime<Utc>,
    /// The word for its outcome.
    pub outcome: OutcomeWord,
    /// The id of its failure; absent when it did not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
    /// The stage it failed at; absent when it did not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The name of the worker that made it.
    pub worker: String,
}

/// What was seen of a lease that is another attempt's, so that who looks next can tell whether the holder is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSeen {
    /// Daytona's id of the sandbox that is the lease.
    pub sandbox: String,
    /// The holder's attempt and generation and its beat, as one text: any change is a sign of life.
    pub sign: String,
    /// When this was first seen.
    pub since: DateTime<Utc>,
    /// How long, at the least, a change of it could have been seen since and was not, in milliseconds. It counts what is known to lie
    /// between two looks that both succeeded, whatever clocks say.
    #[serde(default)]
    pub silent_ms: u64,
    /// The same, and what was under way in Daytona meanwhile counts too: a living holder beats through that as well.
    #[serde(default)]
    pub waited_ms: u64,
}
