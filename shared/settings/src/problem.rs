//! What is wrong with the settings, where, and what would be right. Problems are gathered, never thrown one by one.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One mistake and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place that has to be mended.
    pub place: Place,
    /// What is wrong there, and what would be right.
    pub mistake: Mistake,
}

/// Where a mistake was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At a line and column of a file.
    File {
        /// The file, as its path was given.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// In a variable of the environment.
    Variable(String),
    /// Nowhere: something is missing.
    Nowhere,
}

/// What is wrong; every message says what would be right, and none repeats a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Mistake {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
    /// The file is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// The key is none that the program knows.
    #[error("there is no `{key}`{}", hint(suggestion.as_ref()))]
    UnknownKey {
        /// The key as it is written.
        key: String,
        /// A key that is spelled much alike.
        suggestion: Option<String>,
    },
    /// A secret or a connection that only the environment may give.
    #[error("`{key}` is not read from files: set {variable} in the environment")]
    EnvironmentOnly {
        /// The key as it is written.
        key: String,
        /// The variable that counts.
        variable: &'static str,
    },
    /// A key of a version before this one.
    #[error("`{key}` is {now} now")]
    Moved {
        /// The key as it is written.
        key: String,
        /// Where its value belongs now.
        now: &'static str,
    },
    /// The value has the wrong type or form.
    #[error("`{key}`: {reason}")]
    Value {
        /// The key whose value it is.
        key: String,
        /// What the type of the setting says.
        reason: String,
    },
    /// Something required is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// The value is well formed but cannot work.
    #[error("`{key}` {rule}")]
    Rule {
        /// The key whose value it is.
        key: String,
        /// The rule as it follows the key in the message.
        rule: &'static str,
    },
    /// Retrying could not work.
    #[error(transparent)]
    Retry(#[from] job::InvalidRetryPolicy),
    /// The repository or branch is not one.
    #[error(transparent)]
    Target(#[from] job::InvalidTarget),
    /// The entry is there already.
    #[error("`{target}` is already listed at line {first}: one entry per repository and branch")]
    Duplicate {
        /// The target that both entries name.
        target: String,
        /// The line of the first entry.
        first: usize,
    },
    /// A plain value that looks like a secret.
    #[error(
        "`{key}` looks like a secret, and plain settings can be read by everyone: list its name under `secrets` and set it in the worker's environment"
    )]
    LooksSecret {
        /// The key whose value it is.
        key: String,
    },
    /// A secret that no build is ever given.
    #[error("`{name}` is never given to a build: {why}")]
    Reserved {
        /// The variable that was asked for.
        name: String,
        /// Who the variable belongs to, as a clause.
        why: &'static str,
    },
    /// Not a name of an environment variable.
    #[error(
        "`{0}` is not the name of an environment variable: letters, digits and `_`, not starting with a digit"
    )]
    VariableName(String),
    /// The clone URL cannot work.
    #[error("clone_url {0}")]
    CloneUrl(&'static str),
}

fn hint(suggestion: Option<&String>) -> String {
    suggestion.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

impl Problem {
    pub(crate) fn at(path: &Path, text: &str, span: &Range<usize>, mistake: Mistake) -> Self {
        let (line, column) = line_and_column(text, span.start);
        Self { place: Place::File { path: path.to_owned(), line, column }, mistake }
    }

    pub(crate) fn missing(what: &'static str) -> Self {
        Self { place: Place::Nowhere, mistake: Mistake::Missing(what) }
    }

    /// The line in its file, where it has one.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Place::File { line, .. } => Some(line),
            Place::Variable(_) | Place::Nowhere => None,
        }
    }
}

/// Both from 1; the column counts characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}: ", path.display()),
            Self::Variable(name) => write!(f, "{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.mistake)
    }
}

/// All of them; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// In the order in which somebody mends them: by line, then the environment, then what is missing.
    pub(crate) fn in_order(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match problem.place {
            Place::File { line, column, .. } => (0, line, column),
            Place::Variable(_) => (1, 0, 0),
            Place::Nowhere => (2, 0, 0),
        });
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} mistakes in the settings:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// The known name that is spelled most alike, if one is close enough to be meant: at most two letters differ.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}
