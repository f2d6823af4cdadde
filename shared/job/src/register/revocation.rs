//! What an operator withdrew: prebuilds that were built with a secret that leaked, or since a time.
//!
//! It is told by a rule and not by names, so that it also covers what an attempt has begun to build and nobody can name yet.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CapturedPrebuild, EntryVersion};
use crate::{AttemptId, PrebuildName, PrebuildRecord};

/// Prebuilds that are not to be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which prebuilds it is about.
    pub of: Revoked,
    /// When it was said: attempts that began later are none of its concern.
    pub until: DateTime<Utc>,
}

/// What the prebuilds that were withdrawn have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// They were built with the secret of this name.
    BuiltWith(String),
    /// They were built at this time or later.
    BuiltSince(DateTime<Utc>),
    /// Their target has been gone from the fleet file for long: all of them.
    Retired {
        /// The entry that says since when. It is refused where another has been folded meanwhile.
        gone: EntryVersion,
    },
}

/// What is known of how a prebuild came to be. What is not known does not speak for it.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// When it was captured, where that is known.
    pub built_at: Option<DateTime<Utc>>,
    /// The names of the secrets that it was built with, where they are known.
    pub secrets: Option<&'a BTreeSet<String>>,
}

impl<'a> From<&'a PrebuildRecord> for Provenance<'a> {
    fn from(prebuild: &'a PrebuildRecord) -> Self {
        let PrebuildRecord { attempt, built_at, ref secrets, .. } = *prebuild;
        Self { attempt, built_at: Some(built_at), secrets: secrets.as_ref() }
    }
}

impl<'a> From<&'a CapturedPrebuild> for Provenance<'a> {
    fn from(captured: &'a CapturedPrebuild) -> Self {
        Self { attempt: captured.name.attempt(), built_at: None, secrets: captured.secrets.as_ref() }
    }
}

impl From<&PrebuildName> for Provenance<'_> {
    fn from(name: &PrebuildName) -> Self {
        Self { attempt: name.attempt(), built_at: None, secrets: None }
    }
}

impl Revocation {
    /// Whether a prebuild that came to be like this is withdrawn.
    pub fn covers(&self, provenance: Provenance<'_>) -> bool {
        let Provenance { attempt, built_at, secrets } = provenance;
        let is_meant = match &self.of {
            Revoked::BuiltWith(secret) => secrets.is_none_or(|secrets| secrets.contains(secret)),
            Revoked::BuiltSince(since) => built_at.is_none_or(|built_at| built_at >= *since),
            Revoked::Retired { .. } => true,
        };
        is_meant && attempt.time() <= self.until
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::*;

    #[test]
    fn what_is_not_known_is_no_excuse() {
        let prebuild = PrebuildRecord::example();
        let (built, attempt) = (prebuild.built_at, prebuild.attempt);
        let until = built + Duration::seconds(1);
        let secrets = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let with = |secret: &str| Revocation { of: Revoked::BuiltWith(secret.to_owned()), until };
        let since = |since| Revocation { of: Revoked::BuiltSince(since), until };
        let told = PrebuildRecord { secrets: secrets(&["NPM_TOKEN"]), ..prebuild.clone() };
        assert!(with("NPM_TOKEN").covers((&told).into()));
        assert!(!with("NPM_TOKE").covers((&told).into()));
        assert!(with("NPM_TOKEN").covers((&prebuild).into()), "0.1 did not note its secrets");
        assert!(!with("NPM_TOKEN").covers((&PrebuildRecord { secrets: secrets(&[]), ..prebuild }).into()));
        assert!(since(built).covers((&told).into()));
        assert!(!since(built + Duration::milliseconds(1)).covers((&told).into()));
        assert!(since(built + Duration::days(1)).covers((&told.name).into()), "when is not known");
        let earlier = Revocation { until: attempt.time() - Duration::milliseconds(1), ..with("NPM_TOKEN") };
        assert!(!earlier.covers((&told).into()), "it began after the secret was changed");
    }
}
