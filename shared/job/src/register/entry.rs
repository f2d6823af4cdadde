//! What programs write to the register of one target: an entry per concern, so that nobody writes what it only knows a copy of.
//!
//! Each entry has a version, which orders it among those of its concern wherever in the stream it stands. Whoever writes an
//! entry anew keeps its version.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    CapturedPrebuild, EntryVersion, FoundPrebuild, LastAttempt, Listing, LostSandbox, OpenDeadLetter, Pause,
    Revocation, StandingFailure,
};
use crate::{AttemptId, FailureKind, PrebuildRecord, Target};

/// How entries of this format are read. One that is not known makes the entry unreadable, and unread entries are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum EntryFormat {
    /// Entries per concern. The format before it, 0.1's, had none: it wrote the whole state of a target.
    #[default]
    PerConcern,
}

/// A format that this program does not read.
#[derive(Debug, Error)]
#[error("format {0} of the register is newer than this program")]
pub struct UnknownFormat(u32);

impl TryFrom<u32> for EntryFormat {
    type Error = UnknownFormat;
    fn try_from(number: u32) -> Result<Self, Self::Error> {
        match number {
            2 => Ok(Self::PerConcern),
            unknown => Err(UnknownFormat(unknown)),
        }
    }
}

impl From<EntryFormat> for u32 {
    fn from(format: EntryFormat) -> Self {
        match format {
            EntryFormat::PerConcern => 2,
        }
    }
}

/// One entry about one concern of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetEntry {
    /// How it is read.
    pub format: EntryFormat,
    /// The target that it is about.
    pub target: Target,
    /// Its place among the entries of its concern.
    pub version: EntryVersion,
    /// Whether it was written for the first time.
    #[serde(default, skip_serializing_if = "Writing::is_first")]
    pub writing: Writing,
    /// What it says, of one concern.
    pub about: Concern,
}

/// Whether an entry says something new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writing {
    /// It says something new.
    #[default]
    First,
    /// It is what was folded, written anew so that it does not age out of the stream. It keeps its version.
    Again,
}

impl Writing {
    // Serde hands a reference over.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_first(&self) -> bool {
        *self == Self::First
    }
}

/// What an entry is about. Each concern is folded by itself; liveness (who works on what) is none: that is the lease's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// Which prebuilds sessions are given.
    Promotion(Box<Promotion>),
    /// What the prebuild that is being captured must hold.
    Captured(CapturedPrebuild),
    /// A prebuild of before the register began, found by its name.
    Found(FoundPrebuild),
    /// Nothing is to be built of it for a while; none once an operator resumed it.
    Pause(Option<Pause>),
    /// How an attempt ended.
    Attempt(Box<LastAttempt>),
    /// A failure that stands; none once there was a good build.
    StandingFailure(Option<Box<StandingFailure>>),
    /// A sandbox that was lost; none once there was a good build.
    LostSandbox(Option<LostSandbox>),
    /// The open dead letter of one failure; none once it was dealt with.
    DeadLetter {
        /// The id of the failure.
        failure: FailureKind,
        /// The letter that lies there.
        open: Option<OpenDeadLetter>,
    },
    /// Every dead letter was dealt with, by a good build.
    DeadLettersClosed,
    /// Whether the fleet file has the target.
    Listing(Listing),
    /// Prebuilds that are not to be used any more. Nothing takes it back.
    Revocation(Revocation),
}

/// Which prebuilds sessions are given from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// The promotion that its writer knew of: it is refused where another was folded meanwhile.
    #[serde(default)]
    pub follows: Option<EntryVersion>,
    /// The prebuild that sessions are given.
    pub promoted: PrebuildRecord,
    /// The other prebuilds that are kept, newest first.
    #[serde(default)]
    pub kept: Vec<PrebuildRecord>,
    /// The newest attempt that was ever promoted, for who reads it anew: it need not be among these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<AttemptId>,
    /// When it was written, by its writer's clock. Its version may be far ahead of that, where another's clock was. Older programs
    /// wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

impl Promotion {
    /// The promoted prebuild and every kept one.
    pub fn prebuilds(&self) -> impl Iterator<Item = &PrebuildRecord> {
        std::iter::once(&self.promoted).chain(&self.kept)
    }
}
