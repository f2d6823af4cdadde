//! What a register knows: the entries of the stream, folded.
//!
//! A reader that did not begin with the stream's very first entry may lack what aged out of it. Once it has met a whole
//! checkpoint it lacks nothing: the checkpoint takes the place of what it had, and what came since is folded on top.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use job::{
    AccountState, Concern, EntryVersion, FleetState, Folded, RegisterEntry, Target, TargetFold, TargetState,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::part::{self, Part};
use crate::publish::CHECKPOINT_PART_TYPE;
use crate::stream::{Entry, Place};

/// Entries that cannot be read, which newer programs may: as many are kept for the checkpoints that this one writes.
const UNREAD_KEPT: usize = 1000;

/// Checkpoints that are followed at once, by who lacks what they hold.
const BEGUN_AT_ONCE: usize = 4;

/// Entries since a checkpoint began, which are folded on top of it. It is written in seconds: many more come with none.
const SINCE_KEPT: usize = 200_000;

/// Everything that a register knows, and who waits for what.
#[derive(Default)]
pub(super) struct State {
    pub(super) known: Known,
    base: Base,
    pub(super) marks: HashMap<Uuid, oneshot::Sender<()>>,
    pub(super) appended: HashMap<EntryVersion, oneshot::Sender<Folded>>,
    /// Who waits for the beginning of a checkpoint of its own.
    pub(super) begun: HashMap<Uuid, oneshot::Sender<(Place, Known)>>,
    /// The last version that was given to an entry of this program's, by target: it may not have come back yet.
    given: HashMap<String, EntryVersion>,
    pub(super) checkpoint: CheckpointStatus,
    /// Promotions that were taken.
    pub(super) promotions: u64,
    /// How many entries came since the checkpoint began that is not complete yet.
    since_begun: u64,
}

/// When the last checkpoint was written, and how much has come since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// None where none was seen.
    pub last: Option<DateTime<Utc>>,
    /// How many entries came after it began; all of them where there is none.
    pub entries_since: u64,
}

/// What the entries come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) targets: HashMap<String, TargetFold>,
    pub(super) fleet: FleetState,
    pub(super) account: AccountState,
    /// What could not be read, oldest first: newer programs may have written it.
    pub(super) unread: VecDeque<Vec<u8>>,
    pub(super) undecodable: u64,
}

/// Whether something may be missing that was written before the reader began.
#[derive(Default)]
enum Base {
    /// Nothing was read yet.
    #[default]
    Unknown,
    /// What aged out of the stream before is missing, until one of these checkpoints, which have begun, is complete.
    Truncated(Vec<Completing>),
    /// Nothing of what was ever written is missing.
    Whole,
}

/// A checkpoint that has begun.
struct Completing {
    id: Uuid,
    known: Known,
    parts: BTreeSet<u32>,
    /// What came since it began.
    since: Vec<Vec<u8>>,
}

impl State {
    /// Takes the next message of the stream.
    pub(super) fn take(&mut self, entry: Entry) {
        if matches!(self.base, Base::Unknown) {
            // The first message that a stream ever took has the offset 0.
            self.base = if entry.offset == 0 { Base::Whole } else { Base::Truncated(Vec::new()) };
        }
        if entry.kind == CHECKPOINT_PART_TYPE {
            return self.take_part(&entry.body);
        }
        let decoded = match serde_json::from_slice(&entry.body) {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::debug!(%error, "an entry of the register cannot be read");
                self.known.keep_unread(entry.body.clone());
                return self.remember_since(&entry.body);
            }
        };
        match decoded {
            RegisterEntry::Mark { id } => answer(self.marks.remove(&id), ()),
            RegisterEntry::CheckpointBegins { id } => {
                self.begin_checkpoint(id, Place { offset: entry.offset, message_id: entry.message_id });
            }
            RegisterEntry::CheckpointEnds { id, parts, at } => self.end_checkpoint(id, parts, at),
            RegisterEntry::Concern(_)
            | RegisterEntry::Target(_)
            | RegisterEntry::Fleet(_)
            | RegisterEntry::Account(_) => {
                self.checkpoint.entries_since += 1;
                self.since_begun += 1;
                let is_promotion = is_promotion(&decoded);
                if let Some((version, folded)) = self.known.fold(decoded) {
                    self.promotions += u64::from(is_promotion && folded == Folded::Taken);
                    answer(self.appended.remove(&version), folded);
                }
                self.remember_since(&entry.body);
            }
        }
    }

    fn begin_checkpoint(&mut self, id: Uuid, place: Place) {
        self.since_begun = 0;
        if let Some(begun) = self.begun.remove(&id) {
            answer(Some(begun), (place, self.known.clone()));
        }
        if let Base::Truncated(begun) = &mut self.base {
            // Two writers may be at it at once: one of them is a keeper no longer, and does not know it yet.
            if begun.len() == BEGUN_AT_ONCE {
                begun.remove(0);
            }
            let (known, parts, since) = (Known::default(), BTreeSet::new(), Vec::new());
            begun.push(Completing { id, known, parts, since });
        }
    }

    fn take_part(&mut self, body: &[u8]) {
        let Base::Truncated(begun) = &mut self.base else { return };
        match Part::decode(body) {
            Ok(part) => {
                let Some(completing) = begun.iter_mut().find(|begun| begun.id == part.checkpoint) else {
                    return;
                };
                completing.parts.insert(part.number);
                for line in part.lines {
                    completing.known.fold_line(line);
                }
            }
            Err(error) => tracing::warn!(%error, "a part of the register's checkpoint cannot be read"),
        }
    }

    fn end_checkpoint(&mut self, id: Uuid, parts: u32, at: DateTime<Utc>) {
        self.checkpoint = CheckpointStatus { last: Some(at), entries_since: self.since_begun };
        let Base::Truncated(begun) = &mut self.base else { return };
        let Some(place) = begun.iter().position(|completing| completing.id == id) else { return };
        let completing = begun.remove(place);
        if !completing.has_all(parts) {
            tracing::warn!("parts of the register's checkpoint are missing: the next one will do");
            return;
        }
        self.known = completing.known;
        for line in completing.since {
            self.known.fold_line(line);
        }
        self.base = Base::Whole;
    }

    /// Entries were missed: what is known is whole again with the next checkpoint.
    pub(super) fn miss_entries(&mut self) {
        if matches!(self.base, Base::Whole) {
            self.base = Base::Truncated(Vec::new());
        }
    }

    /// Whether another checkpoint has what this one lacks: then it must not be written over.
    pub(super) fn knows_less_than_a_checkpoint(&self) -> bool {
        self.checkpoint.last.is_some() && !matches!(self.base, Base::Whole)
    }

    fn remember_since(&mut self, body: &[u8]) {
        if let Base::Truncated(begun) = &mut self.base {
            // One that nobody completes would grow for ever: the next one will do.
            begun.retain(|completing| completing.since.len() < SINCE_KEPT);
            for completing in begun {
                completing.since.push(body.to_vec());
            }
        }
    }

    pub(super) fn next_version(&mut self, target: String) -> EntryVersion {
        let seen = self.known.targets.get(&target).and_then(TargetFold::newest);
        let version = EntryVersion::after(seen.max(self.given.get(&target).copied()), Uuid::now_v7());
        self.given.insert(target, version);
        version
    }

    /// The stream is another one: what was known of the one before is gone with it.
    pub(super) fn forget(&mut self) {
        self.known = Known::default();
        self.base = Base::Unknown;
        self.checkpoint = CheckpointStatus::default();
    }
}

impl Completing {
    fn has_all(&self, parts: u32) -> bool {
        self.parts.iter().copied().eq(0..parts)
    }
}

impl Known {
    /// Folds an entry in. The version and what became of it, for an entry about one concern.
    fn fold(&mut self, entry: RegisterEntry) -> Option<(EntryVersion, Folded)> {
        match entry {
            RegisterEntry::Concern(entry) => Some((entry.version, self.fold_of(&entry.target).fold(*entry))),
            RegisterEntry::Target(state) => {
                self.fold_of(&state.target).fold_whole_state(*state);
                None
            }
            RegisterEntry::Fleet(fleet) => {
                self.fleet = fleet;
                None
            }
            RegisterEntry::Account(entry) => {
                self.account.fold(entry);
                None
            }
            RegisterEntry::Mark { .. }
            | RegisterEntry::CheckpointBegins { .. }
            | RegisterEntry::CheckpointEnds { .. } => None,
        }
    }

    /// All of it as the lines of a checkpoint.
    pub(super) fn lines(&self) -> impl Iterator<Item = serde_json::Result<Vec<u8>>> {
        let fleet = serde_json::to_vec(&RegisterEntry::Fleet(self.fleet.clone()));
        let now = Utc::now();
        let told = self.targets.values().filter(move |fold| !fold.is_forgotten(now));
        let account = self.account.written_again(now).map(RegisterEntry::Account);
        let account = account.map(|entry| serde_json::to_vec(&entry));
        let folds = told.flat_map(TargetFold::written_again);
        let entries = folds.map(|entry| serde_json::to_vec(&RegisterEntry::Concern(Box::new(entry))));
        [fleet].into_iter().chain(account).chain(entries).chain(self.unread.iter().cloned().map(Ok))
    }

    fn fold_line(&mut self, line: Vec<u8>) {
        match serde_json::from_slice(&line) {
            Ok(entry) => drop(self.fold(entry)),
            Err(_) => self.keep_unread(line),
        }
    }

    /// Counts what cannot be read, and keeps what may be an entry of a newer program: a checkpoint must not lose it.
    fn keep_unread(&mut self, line: Vec<u8>) {
        self.undecodable += 1;
        if !part::may_be_an_entry(&line) || self.unread.contains(&line) {
            return;
        }
        if self.unread.len() == UNREAD_KEPT {
            self.unread.pop_front();
        }
        self.unread.push_back(line);
    }

    fn fold_of(&mut self, target: &Target) -> &mut TargetFold {
        self.targets.entry(target.key()).or_insert_with(|| TargetFold::new(target.clone()))
    }

    pub(super) fn target(&self, target: &Target) -> Option<Arc<TargetState>> {
        self.targets.get(&target.key()).map(|fold| Arc::new(fold.state()))
    }
}

fn is_promotion(entry: &RegisterEntry) -> bool {
    matches!(entry, RegisterEntry::Concern(entry) if matches!(entry.about, Concern::Promotion(_)))
}

fn answer<T>(waiting: Option<oneshot::Sender<T>>, answer: T) {
    if let Some(waiting) = waiting
        && waiting.send(answer).is_err()
    {
        tracing::trace!("nobody waits for this any more");
    }
}

#[cfg(test)]
mod tests;
