//! A prebuild as the register knows it. What lies in the prebuild itself is its `manifest`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::Display;

use crate::{AttemptId, BuildMode, Commit, Fingerprint, PrebuildName};

/// Whether a prebuild's build script succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Completeness {
    /// It did, or there is none.
    Complete,
    /// Dependencies are in, the build script failed.
    Partial,
}

/// What is known of a prebuild.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrebuildRecord {
    /// Its name, which is the snapshot's name in Daytona.
    pub name: PrebuildName,
    /// Daytona's id of the snapshot.
    pub snapshot_id: String,
    /// The commit in it.
    pub commit: Commit,
    /// The inputs it was built with.
    pub fingerprint: Fingerprint,
    /// Whether it was built from the base or from an earlier prebuild.
    pub mode: BuildMode,
    /// Whether the build script succeeded.
    pub completeness: Completeness,
    /// What a session should know: `degraded.lockfile`, ...
    #[serde(default)]
    pub flags: Vec<String>,
    /// Names of the secrets that it may have been given, the git token's too. Older workers noted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeSet<String>>,
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// When it was captured.
    pub built_at: DateTime<Utc>,
    /// Size in GB, as Daytona says.
    #[serde(default)]
    pub size_gb: Option<f64>,
    /// The bytes on disk that the build added to its base, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<i64>,
    /// How long a sandbox took to start from it, in milliseconds.
    #[serde(default)]
    pub cold_start_milliseconds: Option<u64>,
}

/// So much more than its predecessor, and more than twice as much, is worth a word: 200 MB.
const GROWN_BY: i64 = 200_000_000;

/// The flag of a prebuild that is far larger than its predecessor.
pub const GROWN: &str = "size.grown";

/// Whether a build that added so many bytes made a prebuild far larger than its predecessor.
pub fn has_grown(added: Option<i64>, before: Option<i64>) -> bool {
    let (Some(added), Some(before)) = (added, before) else { return false };
    added - before > GROWN_BY && added > before.saturating_mul(2)
}

impl PrebuildRecord {
    /// Whether it is what a build of this commit with these inputs would make.
    pub fn is_of(&self, commit: &Commit, fingerprint: &Fingerprint) -> bool {
        self.commit == *commit && self.fingerprint == *fingerprint
    }
}

#[cfg(any(test, feature = "testing"))]
impl PrebuildRecord {
    /// A whole prebuild of this target, for tests, by an attempt that begins now.
    pub fn example_of(fleet: &crate::FleetName, target: &crate::Target) -> Self {
        let (Ok(commit), Some(fingerprint)) =
            ("a".repeat(40).parse::<Commit>(), Fingerprint::from_hex(&"9".repeat(64)))
        else {
            unreachable!("both have as many digits as they must")
        };
        let attempt = AttemptId::new();
        let sandbox = crate::SandboxName::of(fleet, target);
        Self {
            name: PrebuildName::new(sandbox, &commit, &fingerprint, BuildMode::Cold, attempt),
            snapshot_id: attempt.to_string(),
            commit,
            fingerprint,
            mode: BuildMode::Cold,
            completeness: Completeness::Complete,
            flags: Vec::new(),
            secrets: None,
            attempt,
            built_at: Utc::now(),
            size_gb: None,
            added_bytes: None,
            cold_start_milliseconds: None,
        }
    }
}

#[cfg(test)]
impl PrebuildRecord {
    pub(crate) fn example() -> Self {
        Self::example_of(&"demo".parse().unwrap(), &"o/n@main".parse().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_far_larger_has_grown() {
        const MB: i64 = 1_000_000;
        for (added, before, expected) in [
            (500 * MB, 100 * MB, true),
            (250 * MB, 100 * MB, false),
            (290 * MB, 100 * MB, false),
            (301 * MB, 100 * MB, true),
            (1500 * MB, 1000 * MB, false),
            (300 * MB, 0, true),
            (300 * MB, -50 * MB, true),
            (100 * MB, 500 * MB, false),
        ] {
            assert_eq!(has_grown(Some(added), Some(before)), expected, "{before} to {added}");
        }
        assert!(!has_grown(Some(MB), None) && !has_grown(None, Some(0)), "nothing to compare with");
    }
}
