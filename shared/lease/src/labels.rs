//! The labels of a sandbox: whose it is, and whether its holder is alive.

use std::collections::{BTreeMap, BTreeSet};

use daytona::Sandbox;
use job::{AttemptId, FleetName, JobId, SandboxName, Target};

const FLEET: &str = "harvest.fleet";
const TARGET: &str = "harvest.target";
const JOB: &str = "harvest.job";
const ATTEMPT: &str = "harvest.attempt";
const HOLDER: &str = "harvest.holder";
const GENERATION: &str = "harvest.generation";
const BEAT: &str = "harvest.beat";

/// What the holder writes on its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The fleet it belongs to.
    pub fleet: FleetName,
    /// What is built in it.
    pub target: Target,
    /// The job it is built for.
    pub job: JobId,
    /// The attempt whose sandbox it is.
    pub attempt: AttemptId,
    /// The worker that works on it.
    pub holder: String,
    /// Raised whenever the sandbox passes to another worker.
    pub generation: u32,
    /// Raised for as long as the holder lives.
    pub beat: u64,
}

impl Labels {
    /// As Daytona keeps them.
    pub fn to_map(&self) -> BTreeMap<String, String> {
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
    pub fn same_attempt(&self, labels: &BTreeMap<String, String>) -> bool {
        let ours = self.to_map();
        [FLEET, ATTEMPT, GENERATION].iter().all(|key| labels.get(*key) == ours.get(*key))
    }
}

/// The labels every sandbox of a fleet carries.
pub fn fleet_label(fleet: &FleetName) -> BTreeMap<String, String> {
    [(FLEET.to_owned(), fleet.to_string())].into()
}

/// The attempts that these are the sandboxes of.
pub fn attempts_at_work(sandboxes: &[Sandbox]) -> BTreeSet<AttemptId> {
    sandboxes.iter().filter_map(|sandbox| sandbox.labels.get(ATTEMPT)?.parse().ok()).collect()
}

/// Whose a sandbox is, by its name and labels.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    /// An attempt of this fleet.
    Ours(Holder),
    /// Anybody else: it lacks this fleet's name or label, so it is never touched.
    Foreign,
}

/// The attempt that holds a sandbox.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    /// The job it says it is of.
    pub job: Option<JobId>,
    /// Attempt, generation and beat: any change is a sign of life.
    pub sign: String,
}

impl Owner {
    /// Judges by this fleet's name: both it and the label have to be there.
    pub fn of(sandbox: &Sandbox, fleet: &FleetName) -> Self {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels() -> Labels {
        Labels {
            fleet: "demo".parse().unwrap(),
            target: "owner/name@main".parse().unwrap(),
            job: JobId::on_demand(),
            attempt: AttemptId::new(),
            holder: "worker-1".into(),
            generation: 1,
            beat: 7,
        }
    }

    #[test]
    fn only_name_and_label_together_make_a_sandbox_ours() {
        let labels = labels();
        let name = SandboxName::of(&labels.fleet, &labels.target);
        let ours: Sandbox = serde_json::from_value(json!({
            "id": "sandbox-1", "name": name.as_str(), "state": "started", "labels": labels.to_map(),
        }))
        .unwrap();
        assert!(
            matches!(Owner::of(&ours, &labels.fleet), Owner::Ours(Holder { job: Some(job), .. }) if job == labels.job)
        );
        assert_eq!(Owner::of(&ours, &"other".parse().unwrap()), Owner::Foreign);
        let unlabelled = Sandbox { labels: BTreeMap::default(), ..ours.clone() };
        assert_eq!(Owner::of(&unlabelled, &labels.fleet), Owner::Foreign);
        let misnamed = Sandbox { name: "somebody-elses".into(), ..ours };
        assert_eq!(Owner::of(&misnamed, &labels.fleet), Owner::Foreign);
    }

    #[test]
    fn the_next_generation_is_not_the_same_attempt() {
        let labels = labels();
        assert!(labels.same_attempt(&Labels { beat: 8, ..labels.clone() }.to_map()));
        assert!(!labels.same_attempt(&Labels { generation: 2, ..labels.clone() }.to_map()));
        assert!(!labels.same_attempt(&Labels { attempt: job::AttemptId::new(), ..labels.clone() }.to_map()));
    }
}
