//! Identifiers: an attempt's, a tick's, a commit's. A job's, which follows from others, is in `job_id`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::{Builder, Uuid};

use crate::digits::{is_lower_hex, lower_base32};

/// An attempt's id: UUID v7, written as 26 characters of base32 that sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(Uuid);

/// A text that is not an attempt's id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an attempt id: 26 characters of base32")]
pub struct InvalidAttemptId(String);

impl AttemptId {
    /// A new id, greater than every earlier one of this process.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// A new id, greater than that of the newest attempt which is known to have been promoted, whatever clocks say.
    pub fn after(promoted: Option<Self>) -> Self {
        Self(draw_after(promoted.map(Self::uuid), Uuid::now_v7()))
    }

    /// When the attempt began, by the clock of its worker.
    pub fn time(self) -> DateTime<Utc> {
        time_of(self.0)
    }

    /// The UUID v7 that it is.
    pub(crate) fn uuid(self) -> Uuid {
        self.0
    }
}

/// The greatest number of milliseconds that a UUID v7 has room for.
const MILLISECONDS_MAX: u64 = (1 << 48) - 1;

/// A UUID v7 that is greater than `seen`: the one that was drawn, unless the clock it was drawn by is behind.
pub(crate) fn draw_after(seen: Option<Uuid>, drawn: Uuid) -> Uuid {
    match seen {
        Some(seen) if drawn <= seen => {
            let milliseconds = u64::try_from(time_of(seen).timestamp_millis()).unwrap_or(0);
            let mut rest = [0; 10];
            rest.copy_from_slice(&drawn.as_bytes()[6..]);
            uuid_at(milliseconds + 1, &rest)
        }
        Some(_) | None => drawn,
    }
}

/// The UUID v7 of this time, in milliseconds since 1970, with these other bits.
pub(crate) fn uuid_at(milliseconds: u64, rest: &[u8; 10]) -> Uuid {
    Builder::from_unix_timestamp_millis(milliseconds.min(MILLISECONDS_MAX), rest).into_uuid()
}

/// When a UUID v7 was drawn: its first 48 bits are milliseconds since 1970.
pub(crate) fn time_of(id: Uuid) -> DateTime<Utc> {
    let milliseconds = id.as_bytes()[..6].iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
    DateTime::from_timestamp_millis(milliseconds).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl Default for AttemptId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lower_base32(self.0.as_bytes()))
    }
}

impl FromStr for AttemptId {
    type Err = InvalidAttemptId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAttemptId(crate::truncate(text, 40));
        // One spelling for each id: names that hold one are compared as texts.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(invalid());
        }
        let bytes = data_encoding::BASE32HEX_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .map_err(|_| invalid())?;
        Uuid::from_slice(&bytes).map(Self).map_err(|_| invalid())
    }
}

impl Serialize for AttemptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One firing of the schedule, aligned to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(DateTime<Utc>);

impl Tick {
    /// The latest tick at or before `now` of a schedule that fires each `every`, counted from midnight 1970 UTC.
    pub fn at_or_before(now: DateTime<Utc>, every: Duration) -> Self {
        let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
        let seconds = now.timestamp().div_euclid(every) * every;
        Self(Utc.timestamp_opt(seconds, 0).single().unwrap_or(DateTime::UNIX_EPOCH))
    }

    /// The tick after this one.
    #[must_use]
    pub fn next(self, every: Duration) -> Self {
        let every = chrono::Duration::from_std(every).unwrap_or(chrono::Duration::MAX);
        Self(self.0.checked_add_signed(every).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// The moment at which it fires.
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// A commit's full object id, 40 or 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Commit(String);

/// A text that is not a commit id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a commit id: 40 or 64 hexadecimal digits")]
pub struct InvalidCommit(String);

impl Commit {
    /// The first twelve digits, as they stand in names.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// All 40 or 64 digits, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = InvalidCommit;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_lower_hex(text) && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCommit(crate::truncate(text, 80)))
        }
    }
}

impl<'de> Deserialize<'de> for Commit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_ids_are_26_characters_that_sort_by_time() {
        let ids: Vec<String> = (0..100).map(|_| AttemptId::new().to_string()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.len() == 26 && id.parse::<AttemptId>().unwrap().to_string() == *id));
        assert!("x".parse::<AttemptId>().is_err());
    }

    #[test]
    fn commits_are_whole_object_ids() {
        assert!("a".repeat(40).parse::<Commit>().is_ok());
        assert!("A".repeat(40).parse::<Commit>().is_err());
        assert!("abc".parse::<Commit>().is_err());
        assert!("$(id)".parse::<Commit>().is_err());
    }
}
