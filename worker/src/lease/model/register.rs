//! The register of the one target: its stream, as numbers, and what the program's own fold makes of it.

use std::cell::RefCell;
use std::collections::HashMap;

use chrono::DateTime;
use job::{
    AttemptId, BuildMode, Commit, Completeness, Concern, EntryFormat, EntryVersion, Fingerprint, Folded,
    PrebuildName, PrebuildRecord, Promotion, SandboxName, Target, TargetEntry, TargetFold, Writing,
};
use uuid::Uuid;

/// The entries, in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Stream(Vec<Entry>);

/// One promotion in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    version: u8,
    follows: Option<u8>,
    promoted: Prebuild,
    kept: Option<Prebuild>,
    again: bool,
}

/// A prebuild: the attempt that made it, and the commit in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prebuild {
    pub(super) attempt: u8,
    pub(super) commit: u8,
}

/// What the register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Promoted {
    pub(super) version: u8,
    pub(super) prebuild: Prebuild,
    pub(super) kept: Option<Prebuild>,
}

/// What the fold makes of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) known: Option<Promoted>,
    pub(super) promoted: Option<Prebuild>,
    last: Option<Folded>,
}

impl State {
    pub(super) fn version(self) -> Option<u8> {
        self.known.map(|known| known.version)
    }
}

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
            let entry = self.0.iter().find(|entry| version_of(entry.version) == version)?;
            Some(Promoted { version: entry.version, prebuild: entry.promoted, kept: entry.kept })
        });
        let promoted = state.promoted.as_ref().map(number_of);
        assert_eq!(promoted, known.map(|known| known.prebuild));
        State { known, promoted, last }
    }

    /// Appends a promotion, by a writer that has seen `follows` of the register. Says whether it was taken.
    pub(super) fn promote(
        &mut self,
        promoted: Prebuild,
        kept: Option<Prebuild>,
        follows: Option<u8>,
        writer: u8,
    ) -> bool {
        // Greater than what its writer has seen, and nobody else's.
        let version = (follows.map_or(0, |seen| seen / 8) + 1) * 8 + writer;
        self.0.push(Entry { version, follows, promoted, kept, again: false });
        self.fold().last == Some(Folded::Taken)
    }

    /// What the keeper writes anew, of what is folded now.
    pub(super) fn rewritten(&self) -> Self {
        let again = self.fold().known.map(|known| Entry {
            version: known.version,
            follows: None,
            promoted: known.prebuild,
            kept: known.kept,
            again: true,
        });
        Self(again.into_iter().collect())
    }

    pub(super) fn append(&mut self, entries: &Self) {
        self.0.extend(&entries.0);
    }
}

impl Entry {
    fn written(self) -> TargetEntry {
        let promotion = Promotion {
            follows: self.follows.map(version_of),
            promoted: record(self.promoted),
            kept: self.kept.map(record).into_iter().collect(),
        };
        TargetEntry {
            format: EntryFormat::PerConcern,
            target: target(),
            version: version_of(self.version),
            writing: if self.again { Writing::Again } else { Writing::First },
            about: Concern::Promotion(Box::new(promotion)),
        }
    }
}

fn target() -> Target {
    "o/n@main".parse().unwrap()
}

/// All within a minute, so that no promotion counts as forgotten.
fn version_of(number: u8) -> EntryVersion {
    let milliseconds = 1_780_000_000_000 + u64::from(number);
    let drawn = uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid();
    EntryVersion::after(None, drawn)
}

fn record(prebuild: Prebuild) -> PrebuildRecord {
    let uuid = Uuid::from_u128(u128::from(prebuild.attempt));
    let text = data_encoding(uuid.as_bytes());
    let attempt: AttemptId = text.parse().unwrap();
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
        cold_start_milliseconds: None,
        secrets: None,
    }
}

/// Base32 of so small a number, as attempts' ids are written: only its last two characters are not zero.
fn data_encoding(bytes: &[u8; 16]) -> String {
    let last = bytes[15];
    let digit = |number: u8| char::from_digit(u32::from(number), 32).unwrap();
    // 128 bits are 25 characters of five bits and one of three.
    format!("{}{}{}", "0".repeat(24), digit(last >> 3), digit((last & 7) << 2))
}

fn number_of(record: &PrebuildRecord) -> Prebuild {
    let commit = record.commit.as_str().chars().next().and_then(|digit| digit.to_digit(10)).unwrap();
    Prebuild { attempt: record.snapshot_id.parse().unwrap(), commit: u8::try_from(commit).unwrap() }
}
