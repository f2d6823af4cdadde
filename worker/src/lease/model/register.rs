//! The register of the one target: its stream, as numbers, and what the program's own fold makes of it.

use std::cell::RefCell;
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use job::{
    AttemptId, BuildMode, CapturedPrebuild, Commit, Completeness, Concern, EntryFormat, EntryVersion,
    Fingerprint, Folded, PrebuildName, PrebuildRecord, Promotion, SandboxName, SnapshotCondition, Target,
    TargetEntry, TargetFold, TargetState, Writing,
};
use uuid::Uuid;

/// What was written, as far as it makes a difference: what is folded, written again, is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Stream(Vec<Entry>);

/// One entry of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    version: u8,
    about: About,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Promotion {
        follows: Option<u8>,
        promoted: Prebuild,
        kept: Option<Prebuild>,
        again: bool,
        newest: Option<u8>,
    },
    Captured(Prebuild),
}

/// A prebuild: the attempt that made it, and the commit in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prebuild {
    pub(super) attempt: u8,
    pub(super) commit: u8,
}

/// A capture in the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Captured {
    pub(super) version: u8,
    pub(super) prebuild: Prebuild,
}

/// What the register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Promoted {
    pub(super) version: u8,
    pub(super) prebuild: Prebuild,
    pub(super) kept: Option<Prebuild>,
}

/// Which snapshots there are, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Snapshots(u16);

/// What the fold makes of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) known: Option<Promoted>,
    pub(super) promoted: Option<Prebuild>,
    /// The capture that was noted last, where nothing was promoted since.
    pub(super) captured: Option<Captured>,
    /// Newer than every attempt that was promoted are only those after this one.
    pub(super) newest_promoted: Option<u8>,
    /// What a keeper may delete by the program's own rule, and what it might if nothing were too young.
    pub(super) superfluous: Snapshots,
    pub(super) superfluous_however_young: Snapshots,
    last: Option<Folded>,
}

impl State {
    pub(super) fn version(self) -> Option<u8> {
        self.known.map(|known| known.version)
    }

    fn newest(self) -> Option<u8> {
        self.version().max(self.captured.map(|captured| captured.version))
    }
}

impl Prebuild {
    const ALL: std::ops::Range<u8> = 0..16;

    fn of_bit(bit: u8) -> Self {
        Self { attempt: bit / 2, commit: bit % 2 }
    }

    fn bit(self) -> u16 {
        1 << (self.attempt * 2 + self.commit)
    }
}

impl Snapshots {
    pub(super) fn has(self, prebuild: Prebuild) -> bool {
        self.0 & prebuild.bit() != 0
    }

    pub(super) fn insert(&mut self, prebuild: Prebuild) {
        self.0 |= prebuild.bit();
    }

    pub(super) fn remove(&mut self, gone: Self) {
        self.0 &= !gone.0;
    }

    pub(super) fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// When attempts begin, in milliseconds.
const NOON: u64 = 1_780_000_000_000;

thread_local! {
    static FOLDED: RefCell<HashMap<Stream, State>> = RefCell::default();
}

impl Stream {
    /// What every reader of it knows.
    pub(super) fn fold(&self) -> State {
        FOLDED.with_borrow_mut(|folded| *folded.entry(self.clone()).or_insert_with(|| self.fold_anew()))
    }

    fn fold_anew(&self) -> State {
        let mut fold = TargetFold::new(target());
        let mut last = None;
        for entry in &self.0 {
            last = Some(fold.fold(entry.written()));
        }
        let state = fold.state();
        let known = state.promotion.and_then(|version| {
            self.0.iter().find_map(|entry| match entry.about {
                About::Promotion { promoted, kept, .. } if version_of(entry.version) == version => {
                    Some(Promoted { version: entry.version, prebuild: promoted, kept })
                }
                About::Promotion { .. } | About::Captured(_) => None,
            })
        });
        let captured = state.captured.as_ref().map(|CapturedPrebuild { name, .. }| {
            let noted = self.0.iter().rev().find_map(|entry| match entry.about {
                About::Captured(prebuild) if name_of(prebuild) == *name => {
                    Some(Captured { version: entry.version, prebuild })
                }
                About::Captured(_) | About::Promotion { .. } => None,
            });
            noted.unwrap()
        });
        let promoted = state.promoted.as_ref().map(number_of);
        assert_eq!(promoted, known.map(|known| known.prebuild));
        let newest_promoted = state.newest_promoted.map(number_of_attempt);
        let superfluous = find_superfluous(&state, now());
        let superfluous_however_young = find_superfluous(&state, now() + TimeDelta::days(30));
        State { known, promoted, captured, newest_promoted, superfluous, superfluous_however_young, last }
    }

    /// Appends a promotion, by a writer that has seen `follows` and `seen` of the register. Says what became of it.
    pub(super) fn promote(
        &mut self,
        promoted: Prebuild,
        kept: Option<Prebuild>,
        follows: Option<u8>,
        (seen, writer): (Option<u8>, u8),
    ) -> Folded {
        let about = About::Promotion { follows, promoted, kept, again: false, newest: None };
        self.write(Entry { version: after(follows.max(seen), writer), about })
    }

    /// The same without the fold's rule about what newer attempts have overtaken.
    pub(super) fn promote_overtaken(
        &mut self,
        promoted: Prebuild,
        kept: Option<Prebuild>,
        follows: Option<u8>,
        (seen, writer): (Option<u8>, u8),
    ) -> Folded {
        if self.fold().version() != follows {
            return Folded::Refused;
        }
        let about = About::Promotion { follows, promoted, kept, again: true, newest: None };
        self.write(Entry { version: after(follows.max(seen), writer), about })
    }

    /// Appends the note of a capture, by a writer that has seen all of the register: it was synced under the lease.
    pub(super) fn note(&mut self, prebuild: Prebuild) -> Captured {
        let version = after(self.fold().newest(), prebuild.attempt);
        self.write(Entry { version, about: About::Captured(prebuild) });
        Captured { version, prebuild }
    }

    fn write(&mut self, entry: Entry) -> Folded {
        self.0.push(entry);
        let folded = self.fold().last.unwrap();
        *self = self.rewritten();
        folded
    }

    /// What the keeper writes anew, of what is folded now.
    pub(super) fn rewritten(&self) -> Self {
        let state = self.fold();
        let captured = state
            .captured
            .map(|Captured { version, prebuild }| Entry { version, about: About::Captured(prebuild) });
        let promotion = state.known.map(|known| Entry {
            version: known.version,
            about: About::Promotion {
                follows: None,
                promoted: known.prebuild,
                kept: known.kept,
                again: true,
                newest: state.newest_promoted,
            },
        });
        Self(captured.into_iter().chain(promotion).collect())
    }

    pub(super) fn append(&mut self, entries: &Self) {
        self.0.extend(&entries.0);
        *self = self.rewritten();
    }
}

/// Greater than what its writer has seen, and nobody else's.
fn after(seen: Option<u8>, writer: u8) -> u8 {
    (seen.map_or(0, |seen| seen / 8) + 1) * 8 + writer
}

/// What the register alone allows to delete.
fn find_superfluous(state: &TargetState, now: DateTime<Utc>) -> Snapshots {
    let mut found = Snapshots::default();
    for prebuild in Prebuild::ALL.map(Prebuild::of_bit) {
        if state.superfluous(&name_of(prebuild), SnapshotCondition::Whole, now).is_some() {
            found.insert(prebuild);
        }
    }
    found
}

impl Entry {
    fn written(self) -> TargetEntry {
        let (writing, about) = match self.about {
            About::Promotion { follows, promoted, kept, again, newest } => {
                let promotion = Promotion {
                    follows: follows.map(version_of),
                    promoted: record(promoted),
                    kept: kept.map(record).into_iter().collect(),
                    newest: newest.map(attempt_of),
                    at: None,
                };
                let writing = if again { Writing::Again } else { Writing::First };
                (writing, Concern::Promotion(Box::new(promotion)))
            }
            About::Captured(prebuild) => {
                let captured = CapturedPrebuild {
                    name: name_of(prebuild),
                    manifest: String::new(),
                    baseline: String::new(),
                    secrets: None,
                };
                (Writing::First, Concern::Captured(captured))
            }
        };
        let (format, version) = (EntryFormat::PerConcern, version_of(self.version));
        TargetEntry { format, target: target(), version, writing, about }
    }
}

fn target() -> Target {
    "o/n@main".parse().unwrap()
}

/// All within a minute, so that no promotion counts as forgotten.
fn version_of(number: u8) -> EntryVersion {
    EntryVersion::after(None, drawn(1000 + u64::from(number)))
}

/// All before the first promotion, and in the order of their numbers.
fn attempt_of(number: u8) -> AttemptId {
    base32(drawn(u64::from(number)).as_u128()).parse().unwrap()
}

fn drawn(milliseconds: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(NOON + milliseconds, &[0; 10]).into_uuid()
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(NOON).unwrap() + 1000).unwrap()
}

fn name_of(prebuild: Prebuild) -> PrebuildName {
    record(prebuild).name
}

fn record(prebuild: Prebuild) -> PrebuildRecord {
    let attempt = attempt_of(prebuild.attempt);
    let commit: Commit = prebuild.commit.to_string().repeat(40).parse().unwrap();
    let fingerprint = Fingerprint::from_hex(&"9".repeat(64)).unwrap();
    let sandbox = SandboxName::of(&"demo".parse().unwrap(), &target());
    PrebuildRecord {
        name: PrebuildName::new(sandbox, &commit, &fingerprint, BuildMode::Cold, attempt),
        snapshot_id: prebuild.attempt.to_string(),
        commit,
        fingerprint,
        mode: BuildMode::Cold,
        completeness: Completeness::Complete,
        flags: Vec::new(),
        attempt,
        built_at: DateTime::UNIX_EPOCH,
        size_gb: None,
        added_bytes: None,
        cold_start_milliseconds: None,
        secrets: None,
    }
}

/// As attempts' ids are written: 25 characters of five bits, and one of three.
fn base32(number: u128) -> String {
    let digit = |bits: u128| char::from_digit(u32::try_from(bits & 31).unwrap(), 32).unwrap();
    let last = digit((number & 7) << 2);
    (0..25).map(|place| digit(number >> (123 - 5 * place))).chain([last]).collect()
}

fn number_of_attempt(attempt: AttemptId) -> u8 {
    u8::try_from(attempt.time().timestamp_millis() - i64::try_from(NOON).unwrap()).unwrap()
}

fn number_of(record: &PrebuildRecord) -> Prebuild {
    let commit = record.commit.as_str().chars().next().and_then(|digit| digit.to_digit(10)).unwrap();
    Prebuild { attempt: record.snapshot_id.parse().unwrap(), commit: u8::try_from(commit).unwrap() }
}
