//! The record of what was looked at.

use job::{Source, SourceUse, truncate};

const LONGEST: usize = 200;

/// Every source seen so far, and where they contradict each other.
#[derive(Debug, Default)]
pub(super) struct Sources {
    seen: Vec<Source>,
    conflicts: Vec<String>,
}

impl Sources {
    pub(super) fn note(&mut self, decides: &str, place: &str, says: &str, used: SourceUse) {
        self.seen.push(Source {
            decides: decides.to_owned(),
            place: place.to_owned(),
            says: truncate(says.trim(), LONGEST),
            used,
        });
    }

    pub(super) fn conflict(&mut self, words: impl AsRef<str>) {
        self.conflicts.push(truncate(words.as_ref(), 3 * LONGEST));
    }

    pub(super) fn into_parts(self) -> (Vec<Source>, Vec<String>) {
        (self.seen, self.conflicts)
    }
}
