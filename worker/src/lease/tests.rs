use chrono::{DateTime, Utc};
use job::{JobId, LeaseSeen, SandboxName};
use serde_json::json;

use super::labels::Holder;
use super::life::occupant;
use super::rules::{Occupant, Step, next_step};
use super::*;

fn look<'a>(sandbox: &'a Sandbox, sign: &'a str) -> Sighting<'a> {
    Sighting { sandbox: sandbox.id.as_str(), sign, pending: sandbox.state.is_pending() }
}

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
fn a_holder_is_dead_when_it_was_silent_at_looks_enough() {
    let labels = labels();
    let holder = sandbox(&labels, "started");
    let (stale, apart) = (Duration::from_mins(3), Duration::from_secs(30));
    // A clock that is wrong by an hour, at every other look.
    let clocks: [DateTime<Utc>; 2] =
        ["2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"].map(|time| time.parse().unwrap());
    let silent = |looks: usize| {
        let mut seen = None;
        for number in 0..looks {
            seen = Some(observe(look(&holder, "a/1/7"), seen.as_ref(), apart, clocks[number % 2]));
        }
        seen.unwrap()
    };
    assert!(!is_dead(&silent(6), stale), "150 s between the first and the last");
    assert!(is_dead(&silent(7), stale));
    assert_eq!(silent(7).since, clocks[0]);

    let beating = observe(look(&holder, "a/1/8"), Some(&silent(9)), apart, clocks[1]);
    assert_eq!((beating.silent_ms, beating.since), (0, clocks[1]));
    let other = Sandbox { id: serde_json::from_value(json!("sandbox-2")).unwrap(), ..holder.clone() };
    assert_eq!(observe(look(&other, "a/1/7"), Some(&silent(9)), apart, clocks[1]).silent_ms, 0);
    let capturing = sandbox(&labels, "snapshotting");
    let seen = observe(look(&capturing, "a/1/7"), Some(&silent(9)), apart, clocks[1]);
    assert!(!is_dead(&seen, stale), "a pending state counts as alive");
}

#[test]
fn what_is_under_way_is_waited_for_so_long_and_no_longer() {
    let labels = labels();
    let (stale, stuck, apart) = (Duration::from_mins(3), Duration::from_mins(10), Duration::from_mins(1));
    let looked = |states: &[&str]| {
        let looks = states.iter().map(|state| sandbox(&labels, state));
        looks
            .fold(None, |seen, at| Some(observe(look(&at, "a/1/7"), seen.as_ref(), apart, Utc::now())))
            .unwrap()
    };
    let is = |seen: &LeaseSeen| occupant(seen, false, stale, stuck);
    assert_eq!(is(&looked(&["starting"; 10])), Occupant::Alive);
    assert_eq!(is(&looked(&["starting"; 11])), Occupant::Stuck);
    assert_eq!(occupant(&looked(&["starting"; 11]), true, stale, stuck), Occupant::Alive, "held right here");
    let awake = [["starting"; 11].as_slice(), &["started"; 2]].concat();
    assert_eq!(is(&looked(&awake)), Occupant::Stuck, "not yet silent for long enough to be deleted");
    let awake = [["starting"; 11].as_slice(), &["started"; 3]].concat();
    assert_eq!(is(&looked(&awake)), Occupant::Dead);
}

#[test]
fn the_first_name_that_does_not_stick_is_taken() {
    use Occupant::{Alive, Dead, Foreign, Mine, Nobody, Stuck};
    for (names, step) in [
        ([Nobody, Nobody, Nobody], Step::Create(0)),
        ([Stuck, Nobody, Nobody], Step::Create(1)),
        ([Nobody, Stuck, Nobody], Step::Create(0)),
        ([Nobody, Alive, Nobody], Step::Wait(1)),
        ([Stuck, Dead, Nobody], Step::Remove(1)),
        ([Stuck, Stuck, Stuck], Step::Wait(0)),
        ([Stuck, Mine, Nobody], Step::Adopt(1)),
        ([Nobody, Foreign, Alive], Step::Refuse(1)),
    ] {
        assert_eq!(next_step(&names), step, "{names:?}");
    }
}

#[test]
fn what_is_held_is_held_until_it_is_dropped() {
    let held = KnownSandboxes::default();
    let id = sandbox(&labels(), "started").id;
    let ours = held.clone().hold(id.clone());
    assert!(held.is_held(&id));
    drop(ours);
    assert!(!held.is_held(&id));
}
