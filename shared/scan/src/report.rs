//! What `harvest-scan` answers: what it read, what it could not read, and where something matched.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The answer, one JSON object on the standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files whose content was searched, each inode once.
    pub files: u64,
    /// Bytes of those files, holes left out.
    pub bytes: u64,
    /// Bytes that came out of archives and git objects.
    pub unpacked_bytes: u64,
    /// How long the search took.
    pub milliseconds: u64,
    /// Processor time that it took.
    pub cpu_milliseconds: u64,
    /// The first matches, at most [`Report::MOST_HITS`].
    pub hits: Vec<Hit>,
    /// Everything that was not searched whole, at most [`Report::MOST_UNSEARCHED`].
    pub unsearched: Vec<Unsearched>,
    /// Whether the search came to its end; if not, it was out of time or bytes.
    pub complete: bool,
}

impl Report {
    /// More matches than these say nothing new.
    pub const MOST_HITS: usize = 20;
    /// More files than these that could not be searched say nothing new.
    pub const MOST_UNSEARCHED: usize = 20;
    /// A report is never longer, which bounds what the worker reads: matches and files are few, names are cut.
    pub const MOST_BYTES: usize = 1 << 20;
}

/// One match of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The file, as far as it is text; bytes that are not are replaced.
    pub path: String,
    /// Where in or at the file.
    pub place: Place,
    /// Which of the request's patterns.
    pub pattern: usize,
    /// Keyed digest of what matched, by which the worker confirms it.
    pub digest: String,
}

/// Where a match was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the file's bytes, which begin here.
    Content(u64),
    /// In the file's path.
    Name,
    /// In the text of a symbolic link.
    LinkTarget,
    /// In what a compressed file unpacks to.
    Compressed,
    /// In a member of an archive, by its name.
    Member(String),
    /// In an object of a git pack, by its id.
    GitObject(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(offset) => write!(out, "at byte {offset}"),
            Self::Name => out.write_str("in its name"),
            Self::LinkTarget => out.write_str("in what the link points at"),
            Self::Compressed => out.write_str("in what it unpacks to"),
            Self::Member(name) => write!(out, "in its member {name}"),
            Self::GitObject(id) => write!(out, "in the git object {id}"),
        }
    }
}

/// A file that was not searched whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsearched {
    /// The file, as far as it is text.
    pub path: String,
    /// Why it was not searched whole.
    pub reason: UnsearchedReason,
}

/// Why something was not searched whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsearchedReason {
    /// It could not be opened or read, not even once its mode had been changed. Nobody knows what is in it.
    Unreadable,
    /// It is an archive that unpacks to more than is searched of one; its own bytes were searched.
    TooLarge,
    /// It looks like an archive or a pack and cannot be unpacked; its own bytes were searched.
    Damaged,
}
