use super::*;

fn entry(fold: &TargetFold, milliseconds: u64, about: Concern) -> TargetEntry {
    let version = EntryVersion::after(fold.newest(), drawn(NOON + milliseconds, 1));
    TargetEntry { format: EntryFormat::PerConcern, target: target(), version, writing: Writing::First, about }
}

fn retirement(gone: EntryVersion, until: DateTime<Utc>) -> Concern {
    Concern::Revocation(Revocation { of: Revoked::Retired { gone }, until })
}

/// A target with a promoted prebuild that is gone from the fleet file.
fn gone() -> (TargetFold, EntryVersion) {
    let mut register = Register::with_readers(&[0]);
    register.act(0, Act::Promote);
    let mut fold = fold(&register.stream);
    let going = entry(&fold, 1000, Concern::Listing(Listing::GoneSince(at(NOON))));
    assert_eq!(fold.fold(going.clone()), Folded::Taken);
    (fold, going.version)
}

#[test]
fn a_retired_target_gives_nothing_until_it_is_built_anew() {
    let (mut fold, going) = gone();
    assert_eq!(fold.state().gone.map(|gone| gone.since), Some(at(NOON)));
    assert_eq!(fold.state().prebuilds().count(), 1, "it is only gone");
    let until = Utc::now() + Duration::hours(1);
    let retired = entry(&fold, 2000, retirement(going, until));
    assert_eq!(fold.fold(retired.clone()), Folded::Taken);
    assert_eq!(fold.fold(retired), Folded::Outdated, "it comes twice");
    let state = fold.state();
    assert_eq!((state.prebuilds().count(), state.gone.and_then(|gone| gone.retired)), (0, Some(until)));
    assert!(!fold.is_forgotten(until + Duration::days(6)));
    assert!(fold.is_forgotten(until + Duration::days(7)));
    assert_eq!(super::fold(&fold.written_again()).state(), state);

    let back = entry(&fold, 3000, Concern::Listing(Listing::Listed));
    assert_eq!(fold.fold(back), Folded::Taken);
    assert_eq!((fold.state().gone, fold.state().prebuilds().count()), (None, 0), "it is built anew");
    assert!(!fold.is_forgotten(until + Duration::days(30)));
}

#[test]
fn a_retirement_that_was_decided_before_it_came_back_is_refused() {
    let (mut fold, going) = gone();
    let back = entry(&fold, 2000, Concern::Listing(Listing::Listed));
    assert_eq!(fold.fold(back), Folded::Taken);
    let late = entry(&fold, 3000, retirement(going, Utc::now()));
    assert_eq!(fold.fold(late.clone()), Folded::Refused);
    assert_eq!((fold.state().prebuilds().count(), fold.state().gone), (1, None));
    let gone_again = entry(&fold, 4000, Concern::Listing(Listing::GoneSince(at(NOON + 4000))));
    assert_eq!(fold.fold(gone_again), Folded::Taken);
    assert_eq!(fold.fold(late), Folded::Refused, "its patience begins anew");
}

/// What must hold of every stream with listings, whoever wrote it in whatever order.
fn check_listings(stream: &[TargetEntry]) {
    let mut folded = TargetFold::new(target());
    for entry in stream {
        let before = folded.state();
        let known = folded.revocations.contains_key(&entry.version);
        let outcome = folded.fold(entry.clone());
        let after = folded.state();
        if let Concern::Revocation(Revocation { of: Revoked::Retired { gone }, .. }) = &entry.about
            && entry.writing == Writing::First
        {
            let is_gone = before.gone.is_some_and(|known| known.entry == *gone);
            assert_eq!(outcome == Folded::Taken, is_gone && !known, "taken exactly where it is gone so");
        } else if !matches!(entry.about, Concern::Promotion(_) | Concern::Revocation(_)) {
            assert_eq!(before.promoted, after.promoted, "being gone or back takes and gives nothing");
        }
        assert_eq!(super::fold(&folded.written_again()).state(), after, "what is written again is the same");
    }
    assert_eq!(super::fold(stream.iter().flat_map(|entry| [entry, entry])), folded, "each comes twice");
}

#[test]
fn no_order_of_two_keepers_retires_a_target_that_is_back() {
    use Act::{ComeBack, Go, Promote, Read, Retire, WriteAgain};
    let orders =
        interleavings(&[&[Read, Retire, WriteAgain], &[Read, ComeBack, Go, Read, Retire], &[Read, Promote]]);
    for order in &orders {
        let mut register = Register::with_readers(&[0, 0, 0]);
        for act in [Promote, Go] {
            register.act(2, act);
        }
        for &(who, act) in order {
            register.act(who, act);
        }
        check_listings(&register.stream);
    }
}

fn listings() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        3 => Just(Act::Read),
        2 => Just(Act::Promote),
        2 => Just(Act::Go),
        2 => Just(Act::ComeBack),
        2 => Just(Act::Retire),
        1 => Just(Act::WriteAgain),
    ];
    prop::collection::vec((0..3_usize, act), 1..24)
}

proptest! {
    #[test]
    fn any_keepers_agree_on_what_is_gone(
        acts in listings(),
        skews in prop::array::uniform3(-3_600_000_i64..3_600_000),
    ) {
        let mut register = Register::with_readers(&skews);
        for (who, act) in acts {
            register.act(who, act);
        }
        check_listings(&register.stream);
    }
}

/// What this version writes of the newer concerns, byte by byte.
#[test]
fn golden_entries_stay_readable_and_are_written_alike() {
    for line in include_str!("../golden-concerns.jsonl").lines() {
        let read: RegisterEntry = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }
}
