use super::*;

/// The bytes that 0.1 wrote of one target: captured, promoted, noted, promoted by the next, and then the end of another
/// attempt, from a copy read before that promotion.
fn golden() -> Vec<TargetState> {
    let lines = include_str!("../golden-0.1.jsonl").lines();
    let whole = |line| match serde_json::from_str(line).unwrap() {
        RegisterEntry::Target(state) => Some(*state),
        RegisterEntry::Fleet(_) | RegisterEntry::Mark { .. } => None,
        entry @ (RegisterEntry::Concern(_)
        | RegisterEntry::Account(_)
        | RegisterEntry::CheckpointBegins { .. }
        | RegisterEntry::CheckpointEnds { .. }) => panic!("0.1 wrote no {entry:?}"),
    };
    lines.filter_map(whole).collect()
}

#[test]
fn what_0_1_wrote_is_read_and_its_mistake_is_not_repeated() {
    let golden = golden();
    let mut fold = TargetFold::new(target());
    let states: Vec<TargetState> = golden
        .iter()
        .map(|state| {
            fold.fold_whole_state(state.clone());
            fold.state()
        })
        .collect();
    assert_eq!(states[0].captured, golden[0].captured);
    assert_eq!((&states[1].promoted, &states[1].captured), (&golden[1].promoted, &None));
    assert_eq!(states[2].last, golden[2].last);
    let promoted = &golden[3];
    assert_eq!((&states[3].promoted, &states[3].kept), (&promoted.promoted, &promoted.kept));
    assert_eq!(states[3].failing, promoted.failing);
    let stale = &golden[4];
    assert_eq!((&states[4].promoted, &states[4].kept), (&promoted.promoted, &promoted.kept), "not undone");
    assert_eq!(states[4].last, stale.last);
    assert_eq!(states[4].open_dead_letters, stale.open_dead_letters);
    let late: Vec<_> = (1..5)
        .map(|from| {
            let mut late = TargetFold::new(target());
            golden[from..].iter().for_each(|state| late.fold_whole_state(state.clone()));
            late.state().promotion
        })
        .collect();
    assert_eq!(late[..3], [states[4].promotion; 3], "whoever begins later names it alike");
}

#[test]
fn a_promotion_outlasts_what_0_1_writes_beside_it() {
    let golden = golden();
    let mut fold = TargetFold::new(target());
    fold.fold_whole_state(golden[1].clone());
    let promoted = PrebuildRecord::example();
    let promotion = Promotion {
        follows: fold.state().promotion,
        promoted: promoted.clone(),
        kept: Vec::new(),
        newest: None,
        at: None,
    };
    let entry = TargetEntry {
        format: EntryFormat::PerConcern,
        target: target(),
        version: EntryVersion::after(fold.newest(), Uuid::now_v7()),
        writing: Writing::First,
        about: Concern::Promotion(Box::new(promotion)),
    };
    assert_eq!(fold.fold(entry), Folded::Taken);
    for stale in &golden {
        fold.fold_whole_state(stale.clone());
        assert_eq!(fold.state().promoted.as_ref(), Some(&promoted));
    }
    let of_a_newer_attempt = PrebuildRecord::example();
    let state = TargetState { promoted: Some(of_a_newer_attempt.clone()), ..golden[4].clone() };
    fold.fold_whole_state(state);
    assert_eq!(fold.state().promoted, Some(of_a_newer_attempt), "0.1 still promotes what it builds");
}
