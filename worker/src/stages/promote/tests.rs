use super::*;

fn prebuild(completeness: Completeness) -> PrebuildRecord {
    let example = PrebuildRecord::example_of(&"demo".parse().unwrap(), &"o/n@main".parse().unwrap());
    PrebuildRecord { completeness, ..example }
}

fn nothing_known() -> TargetState {
    TargetState::new("o/n@main".parse().unwrap(), Utc::now())
}

fn promote(state: TargetState, prebuild: PrebuildRecord, keep: u32) -> TargetState {
    let Promotion { promoted, kept, .. } = promotion(&state, prebuild, keep);
    TargetState { promoted: Some(promoted), kept, ..state }
}

#[test]
fn the_newest_and_the_last_complete_prebuild_are_kept() {
    let complete = prebuild(Completeness::Complete);
    let mut state = nothing_known();
    state = promote(state, complete.clone(), 2);
    let partials: Vec<_> = (0..3).map(|_| prebuild(Completeness::Partial)).collect();
    for partial in &partials {
        state = promote(state, partial.clone(), 2);
    }
    assert_eq!(state.promoted.as_ref(), Some(&partials[2]));
    assert_eq!(state.kept, [partials[1].clone(), complete]);

    let newest = prebuild(Completeness::Complete);
    state = promote(state, newest.clone(), 2);
    assert_eq!(state.promoted.as_ref(), Some(&newest));
    assert_eq!(state.kept, [partials[2].clone()]);
}

#[test]
fn promoting_a_kept_one_again_does_not_double_it() {
    let (first, second) = (prebuild(Completeness::Complete), prebuild(Completeness::Complete));
    let mut state = nothing_known();
    for prebuild in [&first, &second, &first] {
        state = promote(state, prebuild.clone(), 2);
    }
    assert_eq!((state.promoted, state.kept), (Some(first), vec![second]));
}
