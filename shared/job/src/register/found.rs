//! Prebuilds of before the register began: when RabbitMQ has lost its data, their names in Daytona are all that is left of them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Provenance;
use crate::PrebuildName;

/// A prebuild that was found by its name alone. Nobody's word is left of what it holds, so no build goes on from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundPrebuild {
    /// Its name, which tells target, commit and attempt.
    pub name: PrebuildName,
    /// Daytona's id of the snapshot.
    pub snapshot_id: String,
    /// When Daytona says that it was made.
    #[serde(default)]
    pub built_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a FoundPrebuild> for Provenance<'a> {
    fn from(found: &'a FoundPrebuild) -> Self {
        Self { built_at: found.built_at, ..Self::from(&found.name) }
    }
}
