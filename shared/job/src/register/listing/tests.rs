use uuid::Uuid;

use super::*;
use crate::Revocation;

fn now() -> DateTime<Utc> {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn version() -> EntryVersion {
    EntryVersion::after(None, Uuid::now_v7())
}

fn target(number: usize) -> Target {
    format!("o/n{number}@main").parse().unwrap()
}

/// With something to lose.
fn known(number: usize) -> TargetState {
    TargetState { promotion: Some(version()), ..TargetState::new(target(number), now()) }
}

fn gone(number: usize, days: i64) -> TargetState {
    let gone = GoneTarget { since: now() - Duration::days(days), entry: version(), retired: None };
    TargetState { gone: Some(gone), ..known(number) }
}

fn retired(number: usize, hours: i64) -> TargetState {
    let until = now() - Duration::hours(hours);
    let state = gone(number, 30);
    let entry = state.gone.unwrap().entry;
    let revocations = vec![Revocation { of: Revoked::Retired { gone: entry }, until }];
    let gone = state.gone.map(|gone| GoneTarget { retired: Some(until), ..gone });
    TargetState { gone, revocations, ..state }
}

fn due(states: &[TargetState], listed: &BTreeSet<Target>) -> (Vec<Target>, usize) {
    let due = due_retirements(states, listed, Duration::days(7), now());
    (due.now.into_iter().map(|(target, _)| target).collect(), due.held.len())
}

#[test]
fn a_tenth_of_the_fleet_at_most_is_retired_in_a_day() {
    let nobody = BTreeSet::new();
    let emptied: Vec<TargetState> = (0..30).map(|number| gone(number, 8)).collect();
    assert_eq!(due(&emptied, &nobody), ((0..3).map(target).collect(), 27));
    let later: Vec<TargetState> =
        (0..30).map(|number| if number < 3 { retired(number, 23) } else { gone(number, 9) }).collect();
    assert_eq!(due(&later, &nobody), (Vec::new(), 27), "whoever retired them");
    let next_day: Vec<TargetState> =
        (0..30).map(|number| if number < 3 { retired(number, 24) } else { gone(number, 9) }).collect();
    assert_eq!(due(&next_day, &nobody).0.len(), 2, "a tenth of what is left");
    assert_eq!(
        due(&[gone(1, 8), gone(2, 9)], &nobody),
        (vec![target(2)], 1),
        "one at the least, the longest gone"
    );
}

#[test]
fn who_came_back_or_went_lately_keeps_everything() {
    let listed = BTreeSet::from([target(1)]);
    assert_eq!(due(&[gone(1, 8), gone(2, 6), known(3)], &listed), (Vec::new(), 0));
    let nothing_to_lose = TargetState { promotion: None, ..gone(4, 8) };
    let many = [gone(5, 8), gone(6, 8), nothing_to_lose];
    let (now, held) = due(&many, &BTreeSet::new());
    assert_eq!((now, held), (vec![target(4), target(5)], 1));
}

#[test]
fn what_changed_is_told_once_and_a_mistake_makes_nothing_gone() {
    let listed = BTreeSet::from([target(1), target(2)]);
    let states = [known(1), gone(2, 1), known(3), gone(4, 1)];
    let told = listing_changes(&states, &listed, 0, now());
    assert_eq!(told, [(target(2), Listing::Listed), (target(3), Listing::GoneSince(now()))]);
    assert_eq!(listing_changes(&states, &listed, 1, now()), [(target(2), Listing::Listed)]);
}
