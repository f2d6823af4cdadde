use super::*;

#[test]
fn no_order_of_two_captures_gives_what_was_condemned() {
    use Act::{Capture, Condemn, Promote, PromoteCaptured, Read};
    let orders = interleavings(&[
        &[Capture, Read, PromoteCaptured],
        &[Capture, Read, PromoteCaptured, Read, PromoteCaptured],
        &[Read, Condemn],
    ]);
    let mut condemned = 0;
    for order in &orders {
        let mut register = Register::with_readers(&[0, 0, 0]);
        register.act(0, Promote);
        for &(who, act) in order {
            register.act(who, act);
        }
        check(&register.stream);
        register.check_condemned();
        condemned += usize::from(!register.condemned.is_empty());
    }
    assert!(condemned > 0, "of {} orders", orders.len());
}

#[test]
fn what_a_newer_attempt_has_overtaken_is_not_promoted() {
    use Act::{Capture, Promote, PromoteCaptured, Read};
    use Folded::{Overtaken, Taken};
    let mut register = Register::with_readers(&[0, 0]);
    let overtaking = [(0, Capture), (1, Capture), (1, PromoteCaptured), (0, Read), (0, PromoteCaptured)];
    for (who, act) in [(0, Promote), (0, Read), (1, Read)].into_iter().chain(overtaking) {
        register.act(who, act);
    }
    let mut reader = TargetFold::new(target());
    let mut fold_all = |stream: &[TargetEntry]| -> Vec<Folded> {
        stream.iter().map(|entry| reader.fold(entry.clone())).collect()
    };
    assert_eq!(fold_all(&register.stream), [Taken, Taken, Taken, Taken, Overtaken]);
    for (who, act) in [(1, Read), (1, PromoteCaptured), (0, Read), (0, Capture), (0, PromoteCaptured)] {
        register.act(who, act);
    }
    assert_eq!(fold_all(&register.stream[5..]), [Taken, Taken, Taken], "what is given, and what is newer");
}

/// What went back to an older one, and kept nothing of the newer.
#[test]
fn who_reads_what_was_written_again_refuses_the_same() {
    use Act::{Capture, Promote, PromoteCaptured, Read, WriteAgain};
    let mut register = Register::with_readers(&[0, 0]);
    for (who, act) in [(0, Promote), (0, Read), (0, Capture), (1, Capture), (1, Read), (1, PromoteCaptured)] {
        register.act(who, act);
    }
    register.act(1, Read);
    let Concern::Promotion(first) = register.stream[0].about.clone() else { panic!("no promotion") };
    let follows = register.readers[1].fold.state().promotion;
    let back = Promotion { follows, kept: Vec::new(), ..*first };
    let version = EntryVersion::after(register.readers[1].fold.newest(), drawn(NOON, 1));
    let about = Concern::Promotion(Box::new(back));
    register.stream.push(TargetEntry { version, about, ..register.stream[0].clone() });
    for (who, act) in [(1, Read), (1, WriteAgain), (0, Read)] {
        register.act(who, act);
    }
    let known_again = fold(&register.readers[1].fold.written_again());
    register.act(0, PromoteCaptured);
    for mut reader in [fold(&register.stream[..register.stream.len() - 1]), known_again] {
        let outcome = reader.fold(register.stream.last().unwrap().clone());
        assert_eq!(outcome, Folded::Overtaken);
    }
}

#[test]
fn one_entry_of_a_clock_that_was_days_ahead_holds_nobody_up() {
    use Act::{Capture, Fail, Promote, PromoteCaptured, Read};
    let days = 400 * 24 * 60 * 60 * 1000;
    let mut register = Register::with_readers(&[0, days]);
    register.act(0, Promote);
    for (who, act) in [(1, Read), (1, Fail), (0, Read), (0, Capture), (0, PromoteCaptured)] {
        register.act(who, act);
    }
    let mut stream = register.stream.clone();
    let Some(Concern::Promotion(last)) = stream.last().map(|entry| entry.about.clone()) else {
        panic!("no promotion")
    };
    let read = |stream: &[TargetEntry]| fold(stream).state().promoted.map(|promoted| promoted.name);
    stream.last_mut().unwrap().about =
        Concern::Promotion(Box::new(Promotion { at: Some(Utc::now()), ..*last.clone() }));
    assert_eq!(read(&stream), Some(last.promoted.name.clone()));
    // By the version alone, as older programs write it, the attempt seems to have begun long ago.
    assert_ne!(read(&register.stream), Some(last.promoted.name));
}
