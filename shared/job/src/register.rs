//! The register: the current state of every target and of the fleet, as the entries that make it and as what they come to.

mod account;
mod collection;
mod entry;
mod fold;
mod found;
mod listing;
mod pause;
mod revocation;
mod staleness;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::account::{AccountEntry, AccountState, KeyRefusal, LimitMet, Resource};
use self::collection::is_overtaken;
pub use self::collection::{SnapshotCondition, Superfluous};
pub use self::entry::{Concern, EntryFormat, Promotion, TargetEntry, UnknownFormat, Writing};
pub use self::fold::{Folded, TargetFold};
pub use self::found::FoundPrebuild;
pub use self::listing::{DueRetirements, GoneTarget, Listing, due_retirements, listing_changes};
pub use self::pause::Pause;
pub use self::revocation::{Provenance, Revocation, Revoked};
pub use self::staleness::StaleReason;
pub use self::version::EntryVersion;
use crate::{
    AttemptId, Commit, Failure, FailureKind, Fingerprint, JobId, OutcomeWord, PrebuildName, PrebuildRecord,
    Target, Tick,
};

/// One entry of the register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RegisterEntry {
    /// One concern of one target.
    Concern(Box<TargetEntry>),
    /// The state of one target, whole, as 0.1 wrote it. It is read, and no longer written.
    Target(Box<TargetState>),
    /// The state of the fleet, whole: the active producer alone writes it.
    Fleet(FleetState),
    /// What somebody learnt of the fleet's account at Daytona. The last word on each thing counts.
    Account(AccountEntry),
    /// Nothing but a mark: who sees it has seen everything published before it.
    Mark {
        /// Drawn at random by who publishes it, to know it by.
        id: Uuid,
    },
    /// A checkpoint begins here: its parts, which follow among other entries, hold all that every entry before this comes to.
    CheckpointBegins {
        /// Tells its parts from those of another.
        id: Uuid,
    },
    /// A checkpoint is complete.
    CheckpointEnds {
        /// The id that its beginning has.
        id: Uuid,
        /// How many parts it has.
        parts: u32,
        /// When it was written.
        at: DateTime<Utc>,
    },
}

/// What is known of the fleet as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetState {
    /// The last tick that was fired.
    #[serde(default)]
    pub last_tick: Option<Tick>,
    /// When the register began: what attempts of before made, it may know nothing of. None in what older programs wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
}

/// What is known of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetState {
    /// The target that all of it is about.
    pub target: Target,
    /// When the newest of its entries was written.
    pub updated_at: DateTime<Utc>,
    /// The promotion that `promoted` and `kept` come from: the next one says that it follows it.
    #[serde(skip)]
    pub promotion: Option<EntryVersion>,
    /// The newest attempt that was ever promoted: what older ones made is promoted only where it is given already.
    #[serde(skip)]
    pub newest_promoted: Option<AttemptId>,
    /// The prebuild sessions are given.
    #[serde(default)]
    pub promoted: Option<PrebuildRecord>,
    /// The other prebuilds that are kept, newest first.
    #[serde(default)]
    pub kept: Vec<PrebuildRecord>,
    /// The prebuild that is being captured, or was and is not promoted yet.
    #[serde(default)]
    pub captured: Option<CapturedPrebuild>,
    /// A prebuild of before the register began, where none was promoted since.
    #[serde(skip)]
    pub found: Option<FoundPrebuild>,
    /// An operator's word that nothing is to be built of it. It may have ended by itself: [`Self::pause_at`] tells.
    #[serde(skip)]
    pub pause: Option<Pause>,
    /// A permanent failure that stands until the commit or the fingerprint changes.
    #[serde(default)]
    pub failing: Option<StandingFailure>,
    /// Dead letters not yet dealt with, at most one per failure id.
    #[serde(default)]
    pub open_dead_letters: BTreeMap<FailureKind, OpenDeadLetter>,
    /// The sandbox that was lost last once the repository's code had run in it; none since a good build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_sandbox: Option<LostSandbox>,
    /// The latest attempt that did something.
    #[serde(default)]
    pub last: Option<LastAttempt>,
    /// Where the fleet file does not have it any more.
    #[serde(skip)]
    pub gone: Option<GoneTarget>,
    /// What was withdrawn: none of the prebuilds above is of these.
    #[serde(skip)]
    pub revocations: Vec<Revocation>,
}

impl TargetState {
    /// Of a target nothing is known of.
    pub fn new(target: Target, now: DateTime<Utc>) -> Self {
        Self {
            target,
            updated_at: now,
            promotion: None,
            newest_promoted: None,
            promoted: None,
            kept: Vec::new(),
            captured: None,
            found: None,
            pause: None,
            failing: None,
            open_dead_letters: BTreeMap::new(),
            lost_sandbox: None,
            last: None,
            gone: None,
            revocations: Vec::new(),
        }
    }

    /// The pause that holds at this time.
    pub fn pause_at(&self, now: DateTime<Utc>) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| pause.holds(now))
    }

    /// The promoted prebuild and every kept one, newest promotion first.
    pub fn prebuilds(&self) -> impl Iterator<Item = &PrebuildRecord> {
        self.promoted.iter().chain(&self.kept)
    }

    /// Whether nothing of this attempt can be promoted any more, but for what is given already.
    pub fn is_overtaken(&self, attempt: AttemptId, now: DateTime<Utc>) -> bool {
        self.promotion.is_some() && is_overtaken(attempt, self.newest_promoted, now)
    }

    /// Whether sessions are given it, or it is kept.
    pub fn promotion_gives(&self, name: &PrebuildName) -> bool {
        self.prebuilds().any(|prebuild| prebuild.name == *name)
    }

    /// Whether a prebuild that came to be like this was withdrawn.
    pub fn is_revoked(&self, provenance: Provenance<'_>) -> bool {
        self.revocations.iter().any(|revocation| revocation.covers(provenance))
    }
}

/// What a captured prebuild must hold, by the word of the worker that captured it: the prebuild itself is no witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedPrebuild {
    /// The name that the capture was given.
    pub name: PrebuildName,
    /// SHA-256 of its manifest, in hexadecimal.
    pub manifest: String,
    /// SHA-256 of what the baseline was taken with: another version of it may see other things, and takes nothing up.
    #[serde(default)]
    pub baseline: String,
    /// Names of the secrets that it may have been given. Older workers noted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeSet<String>>,
}

/// A failure that stands until something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingFailure {
    /// The failure as it was met last, without its log.
    pub failure: Failure,
    /// The commit that failed; none when the commit itself could not be found.
    pub commit: Option<Commit>,
    /// The inputs it failed with.
    pub fingerprint: Fingerprint,
    /// Where the failure is about the secrets that the job was given: it stands until one of them has another value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsCheck>,
    /// When the same failure was met first.
    pub since: DateTime<Utc>,
    /// How often it was met.
    pub count: u64,
}

/// Tells whether secrets are the ones they were, and nothing else of them: sixteen bits of a digest, under a key of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsCheck {
    /// Drawn at random for this check.
    pub key: Uuid,
    /// The first bits of the digest of key, names and values.
    pub digest: u16,
}

/// A sandbox that was lost, and what was built in it: the next of the same may be the repository's own doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSandbox {
    /// The commit that was built in it.
    pub commit: Commit,
    /// The inputs it was built with.
    pub fingerprint: Fingerprint,
    /// When its attempt ended.
    pub at: DateTime<Utc>,
}

/// A dead letter nobody has dealt with yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDeadLetter {
    /// The job in it.
    pub job: JobId,
    /// How often the same failure would have made another.
    pub count: u64,
    /// When it was made.
    pub first: DateTime<Utc>,
    /// When the failure was last met.
    pub last: DateTime<Utc>,
}

/// The latest attempt that did something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastAttempt {
    /// The job it was an attempt of.
    pub job: JobId,
    /// The id of the attempt.
    pub attempt: AttemptId,
    /// Its number among the job's attempts, from 1.
    pub number: u32,
    /// The word for how it ended.
    pub outcome: OutcomeWord,
    /// The failure, without its log.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The commit, when it was found.
    #[serde(default)]
    pub commit: Option<Commit>,
    /// When its outcome was known.
    pub at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The id of its trace; absent when no trace was made.
    #[serde(default)]
    pub trace_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_an_older_version_stays_readable() {
        let entry = r#"{"kind":"target","target":"acme/service@main","updated_at":"2026-11-23T10:00:00Z"}"#;
        let read: RegisterEntry = serde_json::from_str(entry).unwrap();
        let written_at = "2026-11-23T10:00:00Z".parse().unwrap();
        let state = TargetState::new("acme/service@main".parse().unwrap(), written_at);
        assert_eq!(read, RegisterEntry::Target(Box::new(state)));
    }
}
