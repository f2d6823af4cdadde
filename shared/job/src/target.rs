//! A target: one repository at one branch, and the only place where its spelling is judged.
//!
//! Two spellings of one repository are equal where the host itself ignores case, so they share one lease and one prebuild.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::digits::lower_base32;

/// The host that is left out of a target's spelling.
pub const DEFAULT_HOST: &str = "github.com";

/// Hosts that treat `Owner/Name` and `owner/name` as one repository.
const CASE_INSENSITIVE_HOSTS: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];

/// Whether a host takes `Owner/Name` and `owner/name` for one repository.
pub(crate) fn ignores_case(host: &str) -> bool {
    CASE_INSENSITIVE_HOSTS.contains(&host)
}

const READABLE_MAX: usize = 20;
const MAX_PATH: usize = 200;
const MAX_BRANCH: usize = 244;

/// One repository at one branch: `host/path@branch`, or `owner/name@branch` on the default host.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    path: String,
    branch: String,
}

/// Why a text is not a target; every message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// There is no `@` in it.
    #[error("`{0}` names no branch: write owner/name@branch")]
    NoBranch(String),
    /// It has fewer than two segments before the `@`.
    #[error("`{0}` is not a repository path: write owner/name (or host/owner/name)")]
    NotAPath(String),
    /// A segment that could leave the folder or be taken for an option.
    #[error(
        "`{0}` is not a repository path segment: letters, digits, `.`, `_` and `-`, not starting with `-` or `.`, not ending in `.git`"
    )]
    Segment(String),
    /// Not a host name.
    #[error("`{0}` is not a host name: write example.com or example.com:8443")]
    Host(String),
    /// Not a branch by git's rules.
    #[error("`{branch}` is not a branch name git accepts: {reason}")]
    Branch {
        /// The text that was given.
        branch: String,
        /// What git objects to.
        reason: String,
    },
    /// Too long for a name that must fit elsewhere.
    #[error("`{0}…` is too long: at most {MAX_PATH} characters of path and {MAX_BRANCH} of branch")]
    TooLong(String),
}

impl Target {
    /// A target from its parts, judged by the same rules as its spelling.
    pub fn new(host: &str, path: &str, branch: &str) -> Result<Self, InvalidTarget> {
        let host = host.to_ascii_lowercase();
        check_host(&host)?;
        check_path(path)?;
        check_branch(branch)?;
        Ok(Self { host, path: path.to_owned(), branch: branch.to_owned() })
    }

    /// The git host, lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's path on the host, `owner/name`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Everything before the last segment of the path.
    pub fn owner(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(owner, _)| owner)
    }

    /// The last segment of the path: the folder under `/workspace`.
    pub fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(self.path.as_str(), |(_, name)| name)
    }

    /// The branch, spelt as git spells it.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// The repository without its branch, as people write it.
    pub fn repository(&self) -> String {
        if self.host == DEFAULT_HOST { self.path.clone() } else { format!("{}/{}", self.host, self.path) }
    }

    /// What makes two targets the same one: host, path (without case where the host ignores it) and branch.
    pub fn key(&self) -> String {
        if ignores_case(&self.host) {
            format!("{}/{}@{}", self.host, self.path.to_ascii_lowercase(), self.branch)
        } else {
            format!("{}/{}@{}", self.host, self.path, self.branch)
        }
    }

    /// Whether its host takes two spellings that differ in case for one repository.
    pub fn ignores_case(&self) -> bool {
        ignores_case(&self.host)
    }

    /// Twelve characters that stand for the target in names; the identity behind the readable part.
    pub fn hash12(&self) -> String {
        let mut text = lower_base32(&Sha256::digest(self.key().as_bytes()));
        text.truncate(12);
        text
    }

    /// At most twenty characters for people; decoration only.
    pub fn readable(&self) -> String {
        readable(self.name())
    }
}

/// The part of a name that is for people: at most twenty characters that Daytona takes.
pub(crate) fn readable(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(READABLE_MAX)
        .collect();
    while out.ends_with('-') {
        out.pop();
    }
    if out.is_empty() { "x".to_owned() } else { out }
}

fn check_host(host: &str) -> Result<(), InvalidTarget> {
    let invalid = || InvalidTarget::Host(crate::truncate(host, 60));
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253
        || !name.split('.').all(label_ok)
        || port.is_some_and(|port| port.parse::<u16>().is_err())
    {
        return Err(invalid());
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), InvalidTarget> {
    if path.len() > MAX_PATH {
        return Err(InvalidTarget::TooLong(crate::truncate(path, 40)));
    }
    if path.split('/').count() < 2 {
        return Err(InvalidTarget::NotAPath(path.to_owned()));
    }
    for segment in path.split('/') {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let ends_in_git = segment.len() >= 4 && segment[segment.len() - 4..].eq_ignore_ascii_case(".git");
        if segment.is_empty()
            || !segment.bytes().all(allowed)
            || segment.starts_with(['-', '.'])
            || ends_in_git
        {
            return Err(InvalidTarget::Segment(segment.to_owned()));
        }
    }
    Ok(())
}

fn check_branch(branch: &str) -> Result<(), InvalidTarget> {
    if branch.len() > MAX_BRANCH {
        return Err(InvalidTarget::TooLong(crate::truncate(branch, 40)));
    }
    let invalid = |reason: String| InvalidTarget::Branch { branch: branch.to_owned(), reason };
    if branch.starts_with('-') {
        return Err(invalid("it starts with `-`".to_owned()));
    }
    if branch.chars().any(char::is_control) {
        return Err(invalid("it has a control character".to_owned()));
    }
    gix_validate::reference::name(format!("refs/heads/{branch}").as_str().into())
        .map_err(|error| invalid(error.to_string()))?;
    Ok(())
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (repository, branch) =
            text.split_once('@').ok_or_else(|| InvalidTarget::NoBranch(crate::truncate(text, 80)))?;
        let segments = repository.split('/').count();
        match repository.split_once('/') {
            Some((first, rest)) if segments > 2 && (first.contains(['.', ':']) || first == "localhost") => {
                Self::new(first, rest, branch)
            }
            Some(_) => Self::new(DEFAULT_HOST, repository, branch),
            None => Err(InvalidTarget::NotAPath(crate::truncate(repository, 80))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository(), self.branch)
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Target {}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
