//! What several names of bases mean at one moment, so that all jobs that are made then build from the same.
//!
//! Nobody depends on the answer: jobs go out without what was not found in time, and the workers look it up themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::base::BaseError;
use crate::client::Client;
use crate::ids::SnapshotId;
use crate::snapshot::Snapshot;

/// How long Daytona is waited for in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one name was found to mean.
#[derive(Debug)]
pub struct BaseFinding {
    /// What settings call the base.
    pub name: String,
    /// The snapshot behind it, or why there is none.
    pub result: Result<Snapshot, BaseLookupError>,
}

/// Why it is not known what a name means.
#[derive(Debug, thiserror::Error)]
pub enum BaseLookupError {
    /// Daytona's answer, or its refusal to give one.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Daytona was not done within the time there is for all names.
    #[error(transparent)]
    TimedOut(#[from] Elapsed),
}

impl BaseLookupError {
    /// Whether the names after this one would fare no better.
    fn ends_the_lookup(&self) -> bool {
        match self {
            Self::Base(BaseError::Missing { .. } | BaseError::NotActive { .. }) => false,
            Self::Base(BaseError::Call(_)) | Self::TimedOut(_) => true,
        }
    }
}

impl Client {
    /// Looks each name up once, in alphabetical order. A call that fails, or takes too long, is the last: what comes after
    /// it is not looked up, and not among the findings.
    pub async fn look_up_bases<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<BaseFinding> {
        let deadline = Instant::now() + PATIENCE;
        let mut findings = Vec::new();
        for name in names.into_iter().collect::<BTreeSet<_>>() {
            let answer = tokio::time::timeout_at(deadline, self.base_snapshot(name)).await;
            let result = answer.map_err(BaseLookupError::from).and_then(|found| Ok(found?));
            let is_last = result.as_ref().is_err_and(BaseLookupError::ends_the_lookup);
            findings.push(BaseFinding { name: name.to_owned(), result });
            if is_last {
                break;
            }
        }
        findings
    }
}

/// The ids behind the names of bases, as far as they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseIds(BTreeMap<String, SnapshotId>);

impl BaseIds {
    /// The id behind this name, if it was found.
    pub fn id_of(&self, name: &str) -> Option<&SnapshotId> {
        self.0.get(name)
    }
}

impl From<&[BaseFinding]> for BaseIds {
    fn from(findings: &[BaseFinding]) -> Self {
        let found = findings.iter().filter_map(|finding| {
            let snapshot = finding.result.as_ref().ok()?;
            Some((finding.name.clone(), snapshot.id.clone()))
        });
        found.collect()
    }
}

impl FromIterator<(String, SnapshotId)> for BaseIds {
    fn from_iter<I: IntoIterator<Item = (String, SnapshotId)>>(found: I) -> Self {
        Self(found.into_iter().collect())
    }
}
