use super::*;
use crate::examples::{dead_letter, failing, now, prebuild, state};

fn known() -> FleetNow {
    let target = |text: &str| text.parse::<Target>().unwrap();
    let good = TargetState {
        promoted: Some(prebuild("acme/service@main", now() - chrono::Duration::minutes(50))),
        ..state("acme/service@main")
    };
    let broken = failing("acme/web@main");
    let gone = dead_letter("acme/old@main");
    FleetNow {
        fleet: "demo".parse().unwrap(),
        listed: vec![target("acme/service@main"), target("acme/web@main"), target("acme/new@dev")],
        problems: vec!["fleet.toml:9:1: `wrong` is not a repository path".to_owned()],
        states: [good, broken, gone].into_iter().map(|state| (state.target.clone(), state)).collect(),
        last_tick: Some(Tick::at_or_before(now(), std::time::Duration::from_mins(30))),
        queues: vec![QueueNow { queue: "refresh".to_owned(), messages: 3 }],
        patience: chrono::Duration::days(7),
    }
}

#[test]
fn people_see_what_is_there_and_what_is_in_the_way() {
    insta::assert_snapshot!(view(&known(), now()).text());
}

#[test]
fn programs_get_every_field() {
    insta::assert_json_snapshot!(view(&known(), now()));
}

#[test]
fn an_empty_fleet_says_what_to_do() {
    let empty = FleetNow { listed: Vec::new(), states: BTreeMap::new(), problems: Vec::new(), ..known() };
    assert!(view(&empty, now()).text().contains("add [[repository]] entries"));
}
