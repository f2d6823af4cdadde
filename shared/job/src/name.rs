//! Names the fleet gives to things in Daytona: which are its own, which target they belong to, and never two alike.
//!
//! Daytona's safest alphabet is `[a-z0-9._-]` with about a hundred characters; a prebuild's name is at most
//! [`PREBUILD_NAME_MAX`] of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::digits::{is_lower_base32, is_lower_hex};
use crate::target::readable;
use crate::{AttemptId, Commit, Fingerprint, Target};

/// The most characters a prebuild's name can have.
pub const PREBUILD_NAME_MAX: usize = 98;

/// How many names the lease of a target can have: the next is for when a sandbox sticks under the one before.
pub const NAMES_OF_A_TARGET: usize = 3;

const FLEET_MAX: usize = 10;
const HASH_LENGTH: usize = 12;
const PREFIX: &str = "hv";

/// A name that breaks the rules, and which.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Not a fleet's name.
    #[error(
        "`{0}` is not a fleet name: 1 to {FLEET_MAX} lower-case letters, digits or `-`, starting with a letter"
    )]
    Fleet(String),
    /// Not a sandbox's name of ours.
    #[error(
        "`{0}` is not a sandbox name of a fleet: hv.<fleet>.<readable>.<hash>, or the same with -2 or -3"
    )]
    Sandbox(String),
    /// Not a prebuild's name of ours.
    #[error("`{0}` is not a prebuild name: <sandbox name>.<commit>.<fingerprint>.<c|w>.<attempt>")]
    Prebuild(String),
}

/// One installation's name; part of every name it makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FleetName(String);

impl FleetName {
    /// The name as it is written everywhere.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FleetName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if first && text.len() <= FLEET_MAX && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Fleet(crate::truncate(text, 40)))
        }
    }
}

impl fmt::Display for FleetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FleetName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `hv.<fleet>.<readable>.<target hash 12>`: the sandbox of a target, and so its lease. Its further names end in `-2` and `-3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxName(String);

impl SandboxName {
    /// The first sandbox name of this target in this fleet, which prebuilds are named after.
    pub fn of(fleet: &FleetName, target: &Target) -> Self {
        Self(format!("{PREFIX}.{fleet}.{}.{}", target.readable(), target.hash12()))
    }

    /// Every name that the lease of the same target can have, in the order that all agree on.
    pub fn all_of_target(&self) -> [Self; NAMES_OF_A_TARGET] {
        let first = self.first();
        std::array::from_fn(|place| match place {
            0 => Self(first.to_owned()),
            place => Self(format!("{first}-{}", place + 1)),
        })
    }

    /// The target's first name, as text.
    fn first(&self) -> &str {
        let hash = self.0.rfind('.').map_or(0, |dot| dot + 1);
        self.0.get(..hash + HASH_LENGTH).unwrap_or(&self.0)
    }

    /// The prefix of every name of a fleet.
    pub fn fleet_prefix(fleet: &FleetName) -> String {
        format!("{PREFIX}.{fleet}.")
    }

    /// The prefix of every prebuild name of this target.
    pub fn prebuild_prefix(&self) -> String {
        format!("{}.", self.0)
    }

    /// The fleet in the name.
    pub fn fleet(&self) -> &str {
        self.0.split('.').nth(1).unwrap_or_default()
    }

    /// The target's hash in the name.
    pub fn hash12(&self) -> &str {
        self.first().rsplit('.').next().unwrap_or_default()
    }

    /// The name as it is written everywhere.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SandboxName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts[..] {
            [PREFIX, fleet, readable_part, hash]
                if fleet.parse::<FleetName>().is_ok()
                    && readable(readable_part) == readable_part
                    && is_hash(without_place(hash)) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidName::Sandbox(crate::truncate(text, 120))),
        }
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_LENGTH && is_lower_base32(text)
}

/// The end of a name without what makes it the target's second or third.
fn without_place(end: &str) -> &str {
    match end.rsplit_once('-') {
        Some((hash, place)) if (2..=NAMES_OF_A_TARGET).any(|number| place == number.to_string()) => hash,
        Some(_) | None => end,
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a prebuild was built from the base or from an earlier prebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildMode {
    /// From the base snapshot.
    Cold,
    /// From the target's newest cold prebuild.
    Warm,
}

impl BuildMode {
    fn letter(self) -> &'static str {
        match self {
            Self::Cold => "c",
            Self::Warm => "w",
        }
    }
}

/// `<sandbox name>.<commit 12>.<fingerprint 8>.<c|w>.<attempt 26>`: never used twice, and readable without any register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PrebuildName {
    sandbox: SandboxName,
    commit: String,
    fingerprint: String,
    mode: BuildMode,
    attempt: AttemptId,
}

impl PrebuildName {
    /// The name of what this attempt will capture.
    pub fn new(
        sandbox: SandboxName,
        commit: &Commit,
        fingerprint: &Fingerprint,
        mode: BuildMode,
        attempt: AttemptId,
    ) -> Self {
        Self {
            sandbox,
            commit: commit.short().to_owned(),
            fingerprint: fingerprint.short().to_owned(),
            mode,
            attempt,
        }
    }

    /// The sandbox name it starts with.
    pub fn sandbox(&self) -> &SandboxName {
        &self.sandbox
    }

    /// Whether it holds this commit, built with these inputs (as far as the name tells: 48 and 32 bits).
    pub fn holds(&self, commit: &Commit, fingerprint: &Fingerprint) -> bool {
        self.commit == commit.short() && self.fingerprint == fingerprint.short()
    }

    /// The first digits of the commit.
    pub fn commit_short(&self) -> &str {
        &self.commit
    }

    /// Whether it was built from the base or from an earlier prebuild.
    pub fn mode(&self) -> BuildMode {
        self.mode
    }

    /// The attempt that captured it; sorts by time.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }
}

impl FromStr for PrebuildName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidName::Prebuild(crate::truncate(text, 140));
        // From the right, since the sandbox's own name has dots.
        let mut parts = text.rsplitn(5, '.');
        let mut next = || parts.next().ok_or_else(invalid);
        let (attempt, mode, fingerprint, commit, sandbox) = (next()?, next()?, next()?, next()?, next()?);
        let mode = match mode {
            "c" => BuildMode::Cold,
            "w" => BuildMode::Warm,
            _ => return Err(invalid()),
        };
        if (commit.len(), fingerprint.len()) != (12, 8) || !is_lower_hex(commit) || !is_lower_hex(fingerprint)
        {
            return Err(invalid());
        }
        let sandbox: SandboxName = sandbox.parse().map_err(|_| invalid())?;
        if sandbox.first() != sandbox.as_str() {
            return Err(invalid());
        }
        Ok(Self {
            sandbox,
            commit: commit.to_owned(),
            fingerprint: fingerprint.to_owned(),
            mode,
            attempt: attempt.parse().map_err(|_| invalid())?,
        })
    }
}

impl fmt::Display for PrebuildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}.{}.{}",
            self.sandbox,
            self.commit,
            self.fingerprint,
            self.mode.letter(),
            self.attempt
        )
    }
}

impl Serialize for PrebuildName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrebuildName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
