use chrono::{DateTime, Utc};
use job::{JobId, SandboxName};
use serde_json::json;

use super::labels::Holder;
use super::*;

fn labels() -> Labels {
    Labels {
        fleet: "demo".parse().unwrap(),
        target: "owner/name@main".parse().unwrap(),
        job: JobId::on_demand(),
        attempt: job::AttemptId::new(),
        holder: "worker-1".into(),
        generation: 1,
        beat: 7,
    }
}

fn sandbox(labels: &Labels, state: &str) -> Sandbox {
    let name = SandboxName::of(&labels.fleet, &labels.target);
    serde_json::from_value(json!({
        "id": "sandbox-1", "name": name.as_str(), "state": state, "labels": labels.to_map(),
    }))
    .unwrap()
}

#[test]
fn only_name_and_label_together_make_a_sandbox_ours() {
    let labels = labels();
    let ours = sandbox(&labels, "started");
    assert!(
        matches!(Owner::of(&ours, &labels.fleet), Owner::Ours(Holder { job: Some(job), .. }) if job == labels.job)
    );
    assert_eq!(Owner::of(&ours, &"other".parse().unwrap()), Owner::Foreign);
    let unlabelled = Sandbox { labels: std::collections::BTreeMap::default(), ..ours.clone() };
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

#[test]
fn a_holder_is_dead_only_after_two_looks_at_the_same_sign() {
    let labels = labels();
    let holder = sandbox(&labels, "started");
    let stale = Duration::from_mins(3);
    let first_look: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
    let second_look = first_look + chrono::Duration::minutes(3);

    let seen = first_seen(&holder, "a/1/7", None, first_look);
    assert!(!is_dead(&holder, &seen, stale, first_look));
    let again = first_seen(&holder, "a/1/7", Some(&seen), second_look);
    assert_eq!(again.since, first_look);
    assert!(is_dead(&holder, &again, stale, second_look));
    assert!(!is_dead(&holder, &again, stale, second_look - chrono::Duration::seconds(1)));

    let beating = first_seen(&holder, "a/1/8", Some(&seen), second_look);
    assert!(!is_dead(&holder, &beating, stale, second_look));
    let capturing = sandbox(&labels, "snapshotting");
    assert!(!is_dead(&capturing, &again, stale, second_look), "a pending state counts as alive");
}
