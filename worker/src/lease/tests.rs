use chrono::Utc;
use job::{JobId, LeaseSeen, SandboxName};
use lease::{Sighting, observe};
use serde_json::json;

use super::rules::{Occupant, Step, next_step, occupant};
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
    let held = HeldSandboxes::default();
    let id = sandbox(&labels(), "started").id;
    let ours = held.clone().hold(id.clone());
    assert!(held.is_held(&id));
    drop(ours);
    assert!(!held.is_held(&id));
}

#[test]
fn a_machine_at_rest_outlasts_its_capture() {
    let capture = job::Timeouts::default().capture;
    assert!(kept_at_rest(capture) >= capture + Duration::from_mins(10));
    assert_eq!(kept_at_rest(Duration::from_hours(3)), Duration::from_mins(190));
}
