use chrono::{DateTime, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{Failure, Fingerprint, JobId, OutcomeWord, PrebuildRecord, RegisterEntry};

fn target() -> Target {
    "o/n@main".parse().unwrap()
}

/// A UUID v7 drawn at this millisecond, by a writer that says which it is.
fn drawn(milliseconds: u64, writer: u8) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[writer; 10]).into_uuid()
}

const NOON: u64 = 1_780_000_000_000;

/// The stream, and what each who reads it has read.
struct Register {
    stream: Vec<TargetEntry>,
    readers: Vec<Reader>,
}

struct Reader {
    fold: TargetFold,
    read: usize,
    /// The last version that it gave to an entry of its own, which it may not have read yet.
    given: Option<EntryVersion>,
    /// How far this one's clock is off, in milliseconds.
    skew: i64,
}

/// What one of several does next. What it writes comes from what it has read by then, which may be old.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Read,
    Promote,
    Fail,
    Succeed,
    WriteAgain,
}

impl Register {
    fn with_readers(skews: &[i64]) -> Self {
        let reader = |&skew| Reader { fold: TargetFold::new(target()), read: 0, given: None, skew };
        Self { stream: Vec::new(), readers: skews.iter().map(reader).collect() }
    }

    fn act(&mut self, who: usize, act: Act) {
        let reader = &mut self.readers[who];
        let now = NOON + u64::try_from(self.stream.len()).unwrap() * 10;
        let now = now.checked_add_signed(reader.skew).unwrap();
        let state = reader.fold.state();
        let mut write = |about| {
            let seen = reader.fold.newest().max(reader.given);
            let version = EntryVersion::after(seen, drawn(now, u8::try_from(who).unwrap()));
            reader.given = Some(version);
            let format = EntryFormat::PerConcern;
            self.stream.push(TargetEntry {
                format,
                target: target(),
                version,
                writing: Writing::First,
                about,
            });
        };
        match act {
            Act::Read => {
                for entry in &self.stream[reader.read..] {
                    reader.fold.fold(entry.clone());
                }
                reader.read = self.stream.len();
            }
            Act::Promote => {
                let kept = state.promoted.into_iter().collect();
                let promotion =
                    Promotion { follows: state.promotion, promoted: PrebuildRecord::example(), kept };
                write(Concern::Promotion(Box::new(promotion)));
            }
            Act::Fail => {
                let failure = Failure::new(FailureKind::InstallPackageMissing, "no such package");
                let count = state.failing.map_or(0, |failing| failing.count) + 1;
                write(Concern::StandingFailure(Some(Box::new(standing(failure, count)))));
                let open = OpenDeadLetter { job: JobId::on_demand(), count, first: at(now), last: at(now) };
                write(Concern::DeadLetter { failure: FailureKind::InstallPackageMissing, open: Some(open) });
                write(Concern::Attempt(Box::new(attempt(OutcomeWord::Failed, at(now)))));
            }
            Act::Succeed => {
                write(Concern::StandingFailure(None));
                write(Concern::DeadLettersClosed);
                write(Concern::LostSandbox(None));
                write(Concern::Attempt(Box::new(attempt(OutcomeWord::Built, at(now)))));
            }
            Act::WriteAgain => self.stream.extend(reader.fold.written_again()),
        }
    }
}

fn at(milliseconds: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(milliseconds).unwrap()).unwrap()
}

fn standing(failure: Failure, count: u64) -> StandingFailure {
    let fingerprint = Fingerprint::from_hex(&"9".repeat(64)).unwrap();
    StandingFailure { failure, commit: None, fingerprint, secrets: None, since: at(NOON), count }
}

fn attempt(outcome: OutcomeWord, at: DateTime<Utc>) -> LastAttempt {
    LastAttempt {
        job: JobId::on_demand(),
        attempt: AttemptId::new(),
        number: 1,
        outcome,
        failure: None,
        commit: None,
        at,
        milliseconds: 1,
        trace_id: None,
    }
}

fn fold<'a>(entries: impl IntoIterator<Item = &'a TargetEntry>) -> TargetFold {
    let mut fold = TargetFold::new(target());
    for entry in entries {
        fold.fold(entry.clone());
    }
    fold
}

/// What must hold of every stream, whoever wrote it in whatever order.
fn check(stream: &[TargetEntry]) {
    let mut folded = TargetFold::new(target());
    let mut taken = Vec::new();
    for entry in stream {
        let before = folded.clone();
        let outcome = folded.fold(entry.clone());
        if let Concern::Promotion(promotion) = &entry.about {
            let newer = before.promotion.as_ref().is_none_or(|before| before.version < entry.version);
            assert!(outcome != Folded::Taken || newer, "a promotion went backwards");
            if entry.writing == Writing::First {
                let follows = promotion.follows == before.promotion.as_ref().map(|before| before.version);
                let is_new = !taken.contains(&entry.version);
                assert_eq!(outcome == Folded::Taken, follows && is_new, "taken exactly where it follows");
            }
            if outcome == Folded::Taken {
                taken.push(entry.version);
            }
        } else {
            assert_eq!(folded.promotion, before.promotion, "only a promotion changes what is promoted");
        }
    }
    assert_eq!(fold(stream.iter().flat_map(|entry| [entry, entry])), folded, "each comes twice");
    assert_eq!(fold(stream.iter().chain(stream)), folded, "all of it comes twice");
    let is_promotion = |entry: &&TargetEntry| matches!(entry.about, Concern::Promotion(_));
    let promotions: Vec<_> = stream.iter().filter(is_promotion).collect();
    let others: Vec<_> = stream.iter().filter(|entry| !is_promotion(entry)).collect();
    let last = promotions.iter().copied().chain(others.iter().copied().rev());
    let first = others.iter().copied().rev().chain(promotions.iter().copied());
    assert_eq!(fold(last), folded, "the order of concerns does not matter");
    assert_eq!(fold(first), folded, "the order of concerns does not matter");
    assert_eq!(fold(&folded.written_again()).state(), folded.state(), "what is written again is the same");
}

/// Every order in which these scripts can run, each in its own order.
fn interleavings(scripts: &[&[Act]]) -> Vec<Vec<(usize, Act)>> {
    if scripts.iter().all(|script| script.is_empty()) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (who, script) in scripts.iter().enumerate() {
        let [act, rest @ ..] = *script else { continue };
        let mut remaining = scripts.to_vec();
        remaining[who] = rest;
        for mut order in interleavings(&remaining) {
            order.insert(0, (who, *act));
            all.push(order);
        }
    }
    all
}

#[test]
fn no_order_of_two_writers_and_a_keeper_undoes_a_promotion() {
    use Act::{Fail, Promote, Read, Succeed, WriteAgain};
    const HOUR: i64 = 3_600_000;
    let orders = interleavings(&[&[Read, Promote, Succeed], &[Read, Fail, Promote], &[Read, WriteAgain]]);
    assert_eq!(orders.len(), 560);
    for skews in [[0, 0, 0], [HOUR, 0, 0], [0, HOUR, 0], [-HOUR, HOUR, 0]] {
        for order in &orders {
            let mut register = Register::with_readers(&skews);
            register.act(0, Act::Promote);
            for &(who, act) in order {
                register.act(who, act);
            }
            check(&register.stream);
        }
    }
}

#[test]
fn a_promotion_over_a_newer_one_is_refused_and_seen_so() {
    let mut register = Register::with_readers(&[0, 0]);
    for (who, act) in
        [(0, Act::Promote), (0, Act::Read), (1, Act::Read), (0, Act::Promote), (1, Act::Promote)]
    {
        register.act(who, act);
    }
    let mut reader = TargetFold::new(target());
    let folded: Vec<Folded> = register.stream.iter().map(|entry| reader.fold(entry.clone())).collect();
    assert_eq!(folded, [Folded::Taken, Folded::Taken, Folded::Refused]);
    register.act(1, Act::Read);
    register.act(1, Act::Promote);
    assert_eq!(reader.fold(register.stream[3].clone()), Folded::Taken, "once it knows, it may");
}

#[test]
fn a_failure_from_an_old_copy_undoes_no_promotion() {
    let mut register = Register::with_readers(&[0, 0]);
    for (who, act) in [(0, Act::Promote), (0, Act::Read), (1, Act::Read), (0, Act::Promote), (1, Act::Fail)] {
        register.act(who, act);
    }
    let Concern::Promotion(newest) = &register.stream[1].about else { panic!("{:?}", register.stream) };
    let state = fold(&register.stream).state();
    assert_eq!(state.promoted.as_ref(), Some(&newest.promoted));
    assert_eq!(state.last.unwrap().outcome, OutcomeWord::Failed);
    assert_eq!(state.open_dead_letters.len(), 1);
}

#[test]
fn what_was_forgotten_elsewhere_may_be_followed_by_none() {
    let mut register = Register::with_readers(&[0, 0]);
    register.act(0, Act::Promote);
    let mut known = fold(&register.stream);
    let days_later = |days: u64| TargetEntry {
        version: EntryVersion::after(None, drawn(NOON + days * 86_400_000, 1)),
        ..register.stream[0].clone()
    };
    assert_eq!(known.fold(days_later(1)), Folded::Refused, "the stream still has the one before");
    assert_eq!(known.fold(days_later(3)), Folded::Taken);
}

/// Its stream begins with a promotion that lost to one that has aged out.
#[test]
fn what_is_written_again_puts_right_who_began_too_late() {
    use Act::{Promote, Read, WriteAgain};
    let mut register = Register::with_readers(&[0, 0]);
    for (who, act) in
        [(0, Promote), (0, Read), (1, Read), (0, Promote), (1, Promote), (0, Read), (0, Promote)]
    {
        register.act(who, act);
    }
    let truth = fold(&register.stream).state().promoted;
    assert_ne!(fold(&register.stream[2..]).state().promoted, truth, "it took the one that lost");
    register.act(0, Read);
    register.act(0, WriteAgain);
    assert_eq!(fold(&register.stream[2..]).state().promoted, truth);
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        3 => Just(Act::Read),
        3 => Just(Act::Promote),
        2 => Just(Act::Fail),
        2 => Just(Act::Succeed),
        1 => Just(Act::WriteAgain),
    ];
    prop::collection::vec((0..3_usize, act), 1..24)
}

proptest! {
    #[test]
    fn any_writers_make_one_truth(acts in acts(), skews in prop::array::uniform3(-3_600_000_i64..3_600_000)) {
        let mut register = Register::with_readers(&skews);
        for (who, act) in acts {
            register.act(who, act);
        }
        check(&register.stream);
    }

    #[test]
    fn who_reads_from_what_was_written_again_knows_the_same(before in acts(), after in acts()) {
        let mut register = Register::with_readers(&[0, 0, 0]);
        for (who, act) in before {
            register.act(who, act);
        }
        let from = register.stream.len();
        register.act(2, Act::Read);
        register.act(2, Act::WriteAgain);
        for (who, act) in after {
            register.act(who, act);
        }
        prop_assert_eq!(fold(&register.stream[from..]).state(), fold(&register.stream).state());
    }
}

/// The bytes that 0.1 wrote of one target: captured, promoted, noted, promoted by the next, and then the end of another
/// attempt, from a copy read before that promotion.
fn golden() -> Vec<TargetState> {
    let lines = include_str!("golden-0.1.jsonl").lines();
    let whole = |line| match serde_json::from_str(line).unwrap() {
        RegisterEntry::Target(state) => Some(*state),
        RegisterEntry::Fleet(_) | RegisterEntry::Mark { .. } => None,
        entry @ (RegisterEntry::Concern(_)
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
    let promotion =
        Promotion { follows: fold.state().promotion, promoted: promoted.clone(), kept: Vec::new() };
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
