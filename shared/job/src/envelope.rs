//! What travels beside a job's bytes: the attempt, the history, the trace. Attempts count here, never in the broker.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AttemptSummary, Failure, JobId, LeaseSeen, Target};

/// How many earlier attempts a message remembers.
pub const MAX_HISTORY: usize = 10;

/// The headers of a job's message. The job itself stays the same bytes from first publish to dead letter and replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The number of the attempt that this message asks for, from 1.
    pub attempt: u32,
    /// When the job was first published.
    pub first_enqueued: DateTime<Utc>,
    /// When this message was published.
    pub enqueued: DateTime<Utc>,
    /// The latest attempts, oldest first, at most [`MAX_HISTORY`].
    #[serde(default)]
    pub history: Vec<AttemptSummary>,
    /// What the last attempt said of its failure.
    #[serde(default)]
    pub last_error: Option<String>,
    /// What whoever published this message had seen of other attempts' leases, one for each sandbox under a name of the target.
    #[serde(default)]
    pub leases_seen: Vec<LeaseSeen>,
    /// W3C trace context of the job's root span; never overwritten, so that attempts are siblings in one trace.
    #[serde(default)]
    pub trace: BTreeMap<String, String>,
    /// The previous attempt's span, for a link.
    #[serde(default)]
    pub previous_attempt_trace: Option<String>,
    /// Set by a replay: which one.
    #[serde(default)]
    pub replay: Option<Uuid>,
    /// How often it was handed back by a leaving worker.
    #[serde(default)]
    pub handed_back: u32,
}

impl Envelope {
    /// For a job published now, for the first time.
    pub fn first(now: DateTime<Utc>, trace: BTreeMap<String, String>) -> Self {
        Self {
            attempt: 1,
            first_enqueued: now,
            enqueued: now,
            history: Vec::new(),
            last_error: None,
            leases_seen: Vec::new(),
            trace,
            previous_attempt_trace: None,
            replay: None,
            handed_back: 0,
        }
    }

    /// With one more attempt remembered, the oldest forgotten past the limit.
    #[must_use]
    pub fn remember(mut self, attempt: AttemptSummary) -> Self {
        self.history.push(attempt);
        let excess = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..excess);
        self
    }
}

/// Why a message lies in the dead-letter queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// An attempt failed and no other follows.
    Failed,
    /// The bytes are no job this version can read.
    Undecodable,
    /// The broker gave up on it (delivery limit).
    Broker,
}

/// A message that was larger than what can be published, of which a dead letter holds the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutMessage {
    /// How many bytes it had.
    pub bytes: u64,
    /// The SHA-256 of all of them, in hexadecimal, to know it by where it came from.
    pub sha256: String,
    /// How many of them the dead letter holds.
    pub kept: u64,
}

/// What is recorded of a dead letter: everything an operator asks first, within 16 KiB of headers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterRecord {
    /// Why it lies in the dead-letter queue.
    pub reason: DeadLetterReason,
    /// When the worker gave up on it.
    pub at: DateTime<Utc>,
    /// Which worker gave up.
    pub worker: String,
    /// The job, when its bytes could be read.
    #[serde(default)]
    pub job: Option<JobId>,
    /// The target, when its bytes could be read.
    #[serde(default)]
    pub target: Option<Target>,
    /// The failure, its log tail cut to [`crate::Tail::HEADER_BYTES`].
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What is wrong with the bytes, when they are no job.
    #[serde(default)]
    pub decode_error: Option<String>,
    /// What is left of the message, when it could not be dead-lettered whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutMessage>,
    /// The queue it came from.
    pub queue: String,
    /// The id of the trace that shows the attempt.
    #[serde(default)]
    pub trace_id: Option<String>,
}
