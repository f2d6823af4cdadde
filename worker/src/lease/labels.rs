//! The labels of a sandbox: whose it is, and whether its holder is alive.

use std::collections::BTreeMap;

use daytona::Sandbox;
use job::{AttemptId, FleetName, JobId, SandboxName, Target};

use crate::attempt::Attempt;

pub(crate) const FLEET: &str = "harvest.fleet";
const TARGET: &str = "harvest.target";
const JOB: &str = "harvest.job";
const ATTEMPT: &str = "harvest.attempt";
const HOLDER: &str = "harvest.holder";
const GENERATION: &str = "harvest.generation";
const BEAT: &str = "harvest.beat";

/// What the holder writes on its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) fleet: FleetName,
    pub(crate) target: Target,
    pub(crate) job: JobId,
    pub(crate) attempt: AttemptId,
    /// The worker that works on it.
    pub(crate) holder: String,
    /// Raised whenever the sandbox passes to another worker.
    pub(crate) generation: u32,
    /// Raised for as long as the holder lives.
    pub(crate) beat: u64,
}

impl Labels {
    /// The labels of the attempt's own sandbox, before its first beat.
    pub(super) fn of(attempt: &Attempt) -> Self {
        Self {
            fleet: attempt.job.fleet.clone(),
            target: attempt.job.target.clone(),
            job: attempt.job.id,
            attempt: attempt.id,
            holder: attempt.worker.clone(),
            generation: 1,
            beat: 0,
        }
    }

    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        [
            (FLEET, self.fleet.to_string()),
            (TARGET, self.target.to_string()),
            (JOB, self.job.to_string()),
            (ATTEMPT, self.attempt.to_string()),
            (HOLDER, self.holder.clone()),
            (GENERATION, self.generation.to_string()),
            (BEAT, self.beat.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Whether a sandbox with these labels is this attempt's, in this generation.
    pub(crate) fn same_attempt(&self, labels: &BTreeMap<String, String>) -> bool {
        let ours = self.to_map();
        [FLEET, ATTEMPT, GENERATION].iter().all(|key| labels.get(*key) == ours.get(*key))
    }
}

/// Whose a sandbox is, by its name and labels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An attempt of this fleet.
    Ours(Holder),
    /// Anybody else: it lacks this fleet's name or label, so it is never touched.
    Foreign,
}

/// The attempt that holds a sandbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) job: Option<JobId>,
    /// Attempt, generation and beat: any change is a sign of life.
    pub(crate) sign: String,
}

impl Owner {
    pub(crate) fn of(sandbox: &Sandbox, fleet: &FleetName) -> Self {
        let named = sandbox.name.parse::<SandboxName>().is_ok_and(|name| name.fleet() == fleet.as_str());
        let labelled = sandbox.labels.get(FLEET).is_some_and(|label| label == fleet.as_str());
        if !(named && labelled) {
            return Self::Foreign;
        }
        let label = |key: &str| sandbox.labels.get(key).map_or("", String::as_str);
        Self::Ours(Holder {
            job: label(JOB).parse().ok(),
            sign: format!("{}/{}/{}", label(ATTEMPT), label(GENERATION), label(BEAT)),
        })
    }
}
