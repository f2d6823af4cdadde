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
const FORMAT: &str = "harvest.format";
const PURPOSE: &str = "harvest.purpose";

/// How these labels are read. Holders of before wrote no format, and the same labels.
const THIS_FORMAT: &str = "1";

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
            (FORMAT, THIS_FORMAT.to_owned()),
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

/// The fleet that a sandbox with these labels says it is of.
pub fn fleet_of(labels: &BTreeMap<String, String>) -> Option<FleetName> {
    labels.get(FLEET)?.parse().ok()
}

/// The labels of a sandbox that is started to keep a prebuild awake: it is nobody's session, build or lease.
pub fn keep_awake_labels(fleet: &FleetName) -> BTreeMap<String, String> {
    let mut labels = fleet_label(fleet);
    labels.insert(PURPOSE.to_owned(), "keep_awake".to_owned());
    labels
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
    /// Attempt, generation and beat: any change is a sign of life. Of a holder whose labels are of a newer format, all of them:
    /// whatever it is called there, a beat changes one.
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
        let sign = match sandbox.labels.get(FORMAT).map(String::as_str) {
            None | Some(THIS_FORMAT) => format!("{}/{}/{}", label(ATTEMPT), label(GENERATION), label(BEAT)),
            Some(_) => {
                let all: Vec<String> =
                    sandbox.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                all.join("/")
            }
        };
        Self::Ours(Holder { job: label(JOB).parse().ok(), sign })
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

    /// What programs of 0.1 wrote.
    const OF_0_1: &str = include_str!("labels/golden-0.1.json");

    fn sign_of(labels: &BTreeMap<String, String>) -> String {
        let (fleet, target) = ("demo".parse().unwrap(), "owner/name@main".parse().unwrap());
        let name = SandboxName::of(&fleet, &target);
        let sandbox = json!({ "id": "1", "name": name.as_str(), "state": "started", "labels": labels });
        let sandbox = serde_json::from_value(sandbox).unwrap();
        let Owner::Ours(holder) = Owner::of(&sandbox, &fleet) else { panic!("{sandbox:?}") };
        holder.sign
    }

    #[test]
    fn a_holder_of_0_1_shows_the_sign_that_it_always_did() {
        let labels: BTreeMap<String, String> = serde_json::from_str(OF_0_1).unwrap();
        assert_eq!(sign_of(&labels), "06h1s2dc25o7bc0dtftunqpgc8/1/41");
        assert_eq!(attempts_at_work_of(&labels), 1);
    }

    fn attempts_at_work_of(labels: &BTreeMap<String, String>) -> usize {
        let sandbox = json!({ "id": "1", "name": "x", "state": "started", "labels": labels });
        attempts_at_work(&[serde_json::from_value(sandbox).unwrap()]).len()
    }

    #[test]
    fn a_beat_of_a_newer_format_is_a_sign_of_life_too() {
        let mut labels = labels().to_map();
        labels.insert(FORMAT.to_owned(), "2".to_owned());
        labels.remove(BEAT);
        labels.insert("harvest.heart".to_owned(), "1".to_owned());
        let before = sign_of(&labels);
        assert_eq!(sign_of(&labels), before);
        labels.insert("harvest.heart".to_owned(), "2".to_owned());
        assert_ne!(sign_of(&labels), before);
    }

    #[test]
    fn the_next_generation_is_not_the_same_attempt() {
        let labels = labels();
        assert!(labels.same_attempt(&Labels { beat: 8, ..labels.clone() }.to_map()));
        assert!(!labels.same_attempt(&Labels { generation: 2, ..labels.clone() }.to_map()));
        assert!(!labels.same_attempt(&Labels { attempt: job::AttemptId::new(), ..labels.clone() }.to_map()));
    }
}
