use job::{CapturedPrebuild, Revocation, Revoked, TargetState};

use super::list::{ListedPrebuild, list};
use super::view::{ListView, RevokeEnd, RevokeView, RevokedPrebuild};
use crate::examples::{now, prebuild, state, target};
use crate::output::View;

const TARGET: &str = "acme/service@main";

/// Promoted and kept by a worker that notes secrets, captured by one that does not.
fn known() -> Vec<ListedPrebuild> {
    let promoted = prebuild(TARGET, now() - chrono::Duration::minutes(5));
    let kept = prebuild(TARGET, now() - chrono::Duration::hours(3));
    let captured = CapturedPrebuild {
        name: kept.name.clone(),
        manifest: "5".repeat(64),
        baseline: String::new(),
        secrets: None,
    };
    let state = TargetState {
        promoted: Some(promoted),
        kept: vec![job::PrebuildRecord { secrets: Some([].into()), ..kept }],
        captured: Some(captured),
        ..state(TARGET)
    };
    let mut listed = list(&state, now());
    listed[0].in_daytona = Some("active".to_owned());
    listed[1].in_daytona = Some("missing".to_owned());
    // Attempts are named when the test runs.
    listed[2].age_seconds = 60;
    listed
}

#[test]
fn each_prebuild_says_its_use_its_secrets_and_where_it_is() {
    let view = ListView { prebuilds: known(), notes: vec!["not looked up".to_owned()] };
    insta::assert_snapshot!(view.text());
}

#[test]
fn what_was_built_with_a_secret_or_may_have_been_is_covered() {
    let until = chrono::Utc::now() + chrono::Duration::hours(1);
    let covered = |of| {
        let revocation = Revocation { of, until };
        known().iter().map(|prebuild| revocation.covers(prebuild.provenance())).collect::<Vec<_>>()
    };
    assert_eq!(covered(Revoked::BuiltWith("NPM_TOKEN".to_owned())), [true, false, true]);
    assert_eq!(covered(Revoked::BuiltWith("OTHER".to_owned())), [false, false, true]);
    assert_eq!(covered(Revoked::BuiltSince(now() - chrono::Duration::hours(1))), [true, false, true]);
}

#[test]
fn a_revocation_says_of_each_what_became_of_it() {
    let results = [
        RevokeEnd::Deleted,
        RevokeEnd::NotDeleted { error: "no answer".to_owned() },
        RevokeEnd::LeftToItsAttempt,
    ];
    let prebuilds = known().into_iter().zip(results);
    let view = RevokeView {
        dry_run: false,
        prebuilds: prebuilds.map(|(prebuild, end)| RevokedPrebuild { prebuild, end }).collect(),
        also_told: vec![target("acme/next@main")],
        rebuilds: Vec::new(),
        not_listed: vec![target(TARGET)],
    };
    insta::assert_snapshot!(view.text());
}
