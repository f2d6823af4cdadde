use stateright::{Checker, HasDiscoveries, Model};

use super::{Bounds, Broken, Protocol};

/// Set by `make model`: checks what takes too long for every run of the tests.
const LARGER: &str = "HARVEST_LARGER_MODEL";

const NONE: Bounds = Bounds {
    names: 2,
    attempts: 2,
    pushes: 0,
    crashes: 0,
    stuck: 0,
    lost_answers: 0,
    stale_lists: 0,
    rewrites: 0,
    rollbacks: 0,
    collections: 0,
    freezes: 0,
};

/// Who holds: sandboxes stick, workers crash, answers are lost, lists are stale.
const LEASES: Bounds = Bounds { crashes: 1, stuck: 1, lost_answers: 1, stale_lists: 1, ..NONE };
/// Who promotes: the branch moves, the keeper writes anew, the operator goes back.
const PROMOTIONS: Bounds = Bounds { names: 1, attempts: 3, pushes: 1, rewrites: 1, rollbacks: 1, ..NONE };

/// Who collects: a keeper without a lease, while attempts freeze just before they promote and are passed over.
const COLLECTIONS: Bounds = Bounds { names: 1, attempts: 3, pushes: 1, collections: 1, freezes: 1, ..NONE };

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Visits every state, and finds none that breaks a property.
fn holds(bounds: Bounds) {
    let began = std::time::Instant::now();
    let checked = Protocol::new(bounds, Broken::Nothing).checker().threads(threads()).spawn_bfs().join();
    println!(
        "{bounds:?}: {} states, depth {}, {:?}",
        checked.unique_state_count(),
        checked.max_depth(),
        began.elapsed()
    );
    for (property, path) in checked.discoveries() {
        let examples = ["the head is promoted", "built beside one that sticks", "something is collected"];
        assert!(examples.contains(&property), "{property}: {:#?}", path.into_actions());
    }
}

/// Without the rule the property is broken: shows how.
fn is_caught(bounds: Bounds, broken: Broken, property: &'static str) {
    let checked = Protocol::new(bounds, broken)
        .checker()
        .threads(threads())
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .spawn_bfs()
        .join();
    let path =
        checked.discovery(property).unwrap_or_else(|| panic!("{broken:?}: nothing breaks `{property}`"));
    println!("{broken:?}, {} states: {property}: {:?}", checked.unique_state_count(), path.into_actions());
}

#[test]
fn leases_hold_whatever_sticks_crashes_or_is_lost() {
    holds(Bounds { lost_answers: 0, ..LEASES });
    holds(Bounds { crashes: 0, stale_lists: 0, ..LEASES });
}

#[test]
fn promotions_hold_whoever_writes_the_register() {
    holds(PROMOTIONS);
}

#[test]
fn larger_bounds_hold_where_they_are_asked_for() {
    if std::env::var_os(LARGER).is_some() {
        holds(Bounds { pushes: 1, ..LEASES });
        holds(Bounds { crashes: 1, stale_lists: 1, ..PROMOTIONS });
        holds(Bounds { names: 3, stuck: 2, ..LEASES });
        holds(Bounds { crashes: 1, rollbacks: 1, ..COLLECTIONS });
        holds(Bounds { names: 2, stuck: 1, attempts: 2, ..COLLECTIONS });
    }
}

#[test]
fn without_the_fence_a_lost_lease_promotes() {
    is_caught(LEASES, Broken::NoFence, "nobody promotes without the lease");
}

#[test]
fn without_the_predecessor_promotions_go_backwards() {
    is_caught(PROMOTIONS, Broken::NoPredecessor, "promotions never go backwards");
}

#[test]
fn without_the_predecessor_the_unseen_is_undone() {
    is_caught(PROMOTIONS, Broken::NoPredecessor, "no promotion undoes one its writer did not know");
}

#[test]
fn collections_without_a_lease_hold_by_the_register_alone() {
    holds(COLLECTIONS);
}

#[test]
fn a_collection_of_what_is_young_takes_what_is_promoted() {
    is_caught(
        Bounds { freezes: 0, ..COLLECTIONS },
        Broken::CollectsTheYoung,
        "what is promoted or kept exists",
    );
}

#[test]
fn without_the_folds_rule_what_was_collected_is_promoted() {
    is_caught(
        Bounds { freezes: 0, ..COLLECTIONS },
        Broken::PromotesTheOvertaken,
        "what is promoted or kept exists",
    );
}

#[test]
fn without_the_second_look_a_living_one_is_passed_over() {
    is_caught(LEASES, Broken::NoSecondLook, "no lease is taken from the living");
}

#[test]
fn without_a_second_sign_a_waking_one_is_passed_over() {
    is_caught(LEASES, Broken::PassedOverForGood, "no lease is taken from the living");
}

#[test]
fn with_one_look_the_living_are_swept() {
    is_caught(LEASES, Broken::OneLookIsEnough, "no lease is taken from the living");
}

#[test]
fn with_a_look_at_its_own_name_two_hold() {
    is_caught(LEASES, Broken::OwnNameOnly, "one holder");
}
