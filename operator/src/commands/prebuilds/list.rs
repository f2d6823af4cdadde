//! Which prebuilds the register has of a target, and what Daytona says of them.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use daytona::{Client, SnapshotState};
use job::{Completeness, PrebuildName, Provenance, Target, TargetState};
use serde::Serialize;

use crate::time::since;

/// What a prebuild is to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::commands) enum Use {
    /// Sessions are given it.
    Promoted,
    /// It was promoted before.
    Kept,
    /// It was captured, or is being, and nobody has verified it yet.
    Captured,
    /// It was there before the register began, found by its name.
    Found,
}

impl Use {
    pub(in crate::commands) fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Kept => "kept",
            Self::Captured => "captured",
            Self::Found => "found",
        }
    }
}

/// One prebuild of the register.
#[derive(Debug, Clone, Serialize)]
pub(in crate::commands) struct ListedPrebuild {
    pub(in crate::commands) target: Target,
    #[serde(rename = "use")]
    pub(in crate::commands) used_as: Use,
    pub(in crate::commands) name: PrebuildName,
    /// All digits where the register knows them, else the first twelve.
    pub(in crate::commands) commit: String,
    pub(in crate::commands) completeness: Option<Completeness>,
    pub(in crate::commands) flags: Vec<String>,
    /// None where it is only captured.
    pub(in crate::commands) built_at: Option<DateTime<Utc>>,
    /// Since it was built; where that is not known, since its attempt began.
    pub(in crate::commands) age_seconds: u64,
    /// Names of the secrets that it may have been given; none where its worker did not note them.
    pub(in crate::commands) secrets: Option<BTreeSet<String>>,
    /// Daytona's word: its state, or `missing`; none where Daytona was not asked.
    pub(in crate::commands) in_daytona: Option<String>,
}

impl ListedPrebuild {
    /// How it came to be, for whoever withdraws it.
    pub(in crate::commands) fn provenance(&self) -> Provenance<'_> {
        Provenance { attempt: self.name.attempt(), built_at: self.built_at, secrets: self.secrets.as_ref() }
    }
}

impl ListedPrebuild {
    /// Whether a session can start from it, as far as Daytona was asked.
    pub(in crate::commands) fn is_usable(&self) -> bool {
        self.in_daytona.as_deref().is_none_or(|word| word == SnapshotState::Active.as_str())
    }

    /// Whether Daytona has put it to sleep, from which a captured snapshot never wakes.
    pub(in crate::commands) fn is_asleep(&self) -> bool {
        self.in_daytona.as_deref() == Some(SnapshotState::Inactive.as_str())
    }
}

/// The prebuilds of one target: promoted, kept, captured, found.
pub(in crate::commands) fn list(state: &TargetState, now: DateTime<Utc>) -> Vec<ListedPrebuild> {
    let recorded = state.prebuilds().map(|prebuild| ListedPrebuild {
        target: state.target.clone(),
        used_as: if state.promoted.as_ref() == Some(prebuild) { Use::Promoted } else { Use::Kept },
        name: prebuild.name.clone(),
        commit: prebuild.commit.to_string(),
        completeness: Some(prebuild.completeness),
        flags: prebuild.flags.clone(),
        built_at: Some(prebuild.built_at),
        age_seconds: since(prebuild.built_at, now).as_secs(),
        secrets: prebuild.secrets.clone(),
        in_daytona: None,
    });
    let captured = state.captured.iter().map(|captured| ListedPrebuild {
        target: state.target.clone(),
        used_as: Use::Captured,
        commit: captured.name.commit_short().to_owned(),
        completeness: None,
        flags: Vec::new(),
        built_at: None,
        age_seconds: since(captured.name.attempt().time(), now).as_secs(),
        secrets: captured.secrets.clone(),
        in_daytona: None,
        name: captured.name.clone(),
    });
    let found = state.found.iter().map(|found| ListedPrebuild {
        target: state.target.clone(),
        used_as: Use::Found,
        commit: found.name.commit_short().to_owned(),
        completeness: None,
        flags: Vec::new(),
        built_at: found.built_at,
        age_seconds: since(found.built_at.unwrap_or_else(|| found.name.attempt().time()), now).as_secs(),
        secrets: None,
        in_daytona: None,
        name: found.name.clone(),
    });
    recorded.chain(captured).chain(found).collect()
}

/// Says of each what Daytona has; all of them have names that begin with `prefix`. Lists may lag, so what is not in one is looked up by itself.
pub(in crate::commands) async fn look_up(
    client: &Client,
    prefix: &str,
    prebuilds: &mut [ListedPrebuild],
) -> Result<(), daytona::Error> {
    let listed = client.list_snapshots(prefix).await?;
    let states: HashMap<&str, &SnapshotState> =
        listed.iter().map(|snapshot| (snapshot.name.as_str(), &snapshot.state)).collect();
    for prebuild in prebuilds {
        let name = prebuild.name.to_string();
        prebuild.in_daytona = Some(match states.get(name.as_str()) {
            Some(state) => state.to_string(),
            None => client
                .get_snapshot(&name)
                .await?
                .map_or_else(|| "missing".to_owned(), |snapshot| snapshot.state.to_string()),
        });
    }
    Ok(())
}
