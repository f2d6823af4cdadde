use proptest::prelude::*;

use super::*;

fn any_target() -> impl Strategy<Value = Target> {
    let segment = "[A-Za-z0-9_][A-Za-z0-9._-]{0,30}";
    (proptest::option::of("[a-z]{1,8}\\.[a-z]{2,3}"), segment, segment, "[a-zA-Zα-ω0-9$;|&'()_/-]{1,60}")
        .prop_filter_map("git refuses it", |(host, owner, name, branch)| {
            Target::new(host.as_deref().unwrap_or(crate::DEFAULT_HOST), &format!("{owner}/{name}"), &branch)
                .ok()
        })
}

fn prebuild(fleet: &str, target: &Target, commit: &str) -> PrebuildName {
    PrebuildName::new(
        SandboxName::of(&fleet.parse().unwrap(), target),
        &commit.parse().unwrap(),
        &Fingerprint::from_hex(&"9".repeat(64)).unwrap(),
        BuildMode::Cold,
        AttemptId::new(),
    )
}

proptest! {
    #[test]
    fn names_stay_within_length_and_alphabet_and_round_trip(target in any_target(), fleet in "[a-z][a-z0-9-]{0,9}") {
        let name = prebuild(&fleet, &target, &"a".repeat(40));
        let text = name.to_string();
        prop_assert!(text.len() <= PREBUILD_NAME_MAX, "{} characters: {text}", text.len());
        prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)), "{text}");
        prop_assert_eq!(text.parse::<PrebuildName>().unwrap(), name);
    }

    #[test]
    fn two_targets_never_share_a_name(a in any_target(), b in any_target()) {
        let fleet = "demo".parse().unwrap();
        prop_assert_eq!(a == b, SandboxName::of(&fleet, &a) == SandboxName::of(&fleet, &b));
    }

    #[test]
    fn every_name_of_a_target_is_one_of_its_fleet(target in any_target(), fleet in "[a-z][a-z0-9-]{0,9}") {
        let first = SandboxName::of(&fleet.parse().unwrap(), &target);
        let names = first.all_of_target();
        prop_assert_eq!(&names[0], &first);
        for (place, name) in names.iter().enumerate() {
            prop_assert_eq!(&name.as_str().parse::<SandboxName>().unwrap(), name);
            prop_assert_eq!((name.fleet(), name.hash12()), (fleet.as_str(), first.hash12()));
            prop_assert_eq!(name.all_of_target(), names.clone());
            prop_assert!(name.as_str().starts_with(&SandboxName::fleet_prefix(&fleet.parse().unwrap())));
            prop_assert!(names[..place].iter().all(|other| other != name));
        }
    }

    #[test]
    fn one_target_in_two_fleets_has_two_names(target in any_target()) {
        prop_assert_ne!(
            SandboxName::of(&"one".parse().unwrap(), &target),
            SandboxName::of(&"two".parse().unwrap(), &target)
        );
    }
}

#[test]
fn neighbours_differ_though_their_readable_part_is_cut_alike() {
    let fleet = "demo".parse().unwrap();
    let long = "a".repeat(30);
    let names: Vec<_> = ["main", "Main", "main2"]
        .iter()
        .map(|branch| SandboxName::of(&fleet, &format!("o/{long}@{branch}").parse().unwrap()))
        .collect();
    assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2], "{names:?}");
}

#[test]
fn the_longest_name_fills_the_limit_exactly() {
    let target = format!("o/{}@main", "n".repeat(60)).parse().unwrap();
    assert_eq!(prebuild("abcdefghij", &target, &"a".repeat(40)).to_string().len(), PREBUILD_NAME_MAX);
}

#[test]
fn a_name_has_no_place_but_the_ones_there_are() {
    let first = SandboxName::of(&"demo".parse().unwrap(), &"o/n@main".parse().unwrap());
    for place in ["-1", "-4", "-02", "-", "-2-2", "-2.x", "_2"] {
        assert!(format!("{first}{place}").parse::<SandboxName>().is_err(), "{place}");
    }
    let [_, second, _] = first.all_of_target();
    let prebuild = prebuild("demo", &"o/n@main".parse().unwrap(), &"a".repeat(40)).to_string();
    let renamed = prebuild.replace(first.as_str(), second.as_str());
    assert!(renamed.parse::<PrebuildName>().is_err(), "prebuilds are named after the first");
}

#[test]
fn foreign_names_are_not_ours() {
    for text in [
        "",
        "hv",
        "my-snapshot",
        "hv.demo.x",
        "hv.demo.x.0123456789ab",
        "hv.demo.x.0123456789ab.c0ffee.1.c.z",
    ] {
        assert!(text.parse::<PrebuildName>().is_err(), "{text}");
    }
    for text in ["Demo", "", "1x", "abcdefghijk", "a.b", "a_b"] {
        assert!(text.parse::<FleetName>().is_err(), "{text}");
    }
}

#[test]
fn holds_compares_commit_and_fingerprint() {
    let name = prebuild("demo", &"o/n@main".parse().unwrap(), &"a".repeat(40));
    let fingerprint = Fingerprint::from_hex(&"9".repeat(64)).unwrap();
    assert!(name.holds(&"a".repeat(40).parse().unwrap(), &fingerprint));
    assert!(!name.holds(&"b".repeat(40).parse().unwrap(), &fingerprint));
    assert!(!name.holds(&"a".repeat(40).parse().unwrap(), &Fingerprint::from_hex(&"8".repeat(64)).unwrap()));
}
