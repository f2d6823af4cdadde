//! The order of what is written about one concern, wherever in the stream it stands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::AttemptId;
use crate::id::{draw_after, time_of, uuid_at};

/// Orders the entries of one concern of a target: a UUID v7, so the clock of whoever wrote it, but greater than everything
/// that its writer had seen of the target, however wrong that clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryVersion(Uuid);

impl EntryVersion {
    /// The version of an entry that is written after `seen` was. `drawn` is a new UUID v7.
    pub fn after(seen: Option<Self>, drawn: Uuid) -> Self {
        Self(draw_after(seen.map(|seen| seen.0), drawn))
    }

    /// The version of what 0.1 wrote at this time.
    pub(super) fn at(time: DateTime<Utc>) -> Self {
        let milliseconds = u64::try_from(time.timestamp_millis()).unwrap_or(0);
        let [.., high, low] = (time.timestamp_subsec_micros() % 1000).to_be_bytes();
        Self(uuid_at(milliseconds, &[high, low, 0, 0, 0, 0, 0, 0, 0, 0]))
    }

    /// The version of a promotion that 0.1 wrote: whichever of its entries is read first, it is the same.
    pub(super) fn of_attempt(attempt: AttemptId) -> Self {
        Self(attempt.uuid())
    }

    /// When it was written, by the clock of whoever wrote it.
    pub fn time(self) -> DateTime<Utc> {
        time_of(self.0)
    }
}
