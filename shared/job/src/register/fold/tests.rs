use chrono::{DateTime, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{Failure, Fingerprint, JobId, OutcomeWord, PrebuildName, PrebuildRecord, RegisterEntry};

mod captures;
mod gone;
mod of_0_1;

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
    /// What Daytona has.
    snapshots: Vec<PrebuildName>,
    /// What somebody found superfluous, and how long the stream was then.
    condemned: Vec<(usize, PrebuildName)>,
}

struct Reader {
    fold: TargetFold,
    read: usize,
    /// The last version that it gave to an entry of its own, which it may not have read yet.
    given: Option<EntryVersion>,
    /// How far this one's clock is off, in milliseconds.
    skew: i64,
    captured: Option<PrebuildRecord>,
}

/// What one of several does next. What it writes comes from what it has read by then, which may be old.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Read,
    Promote,
    /// Captures, as an attempt that begins now, and notes it.
    Capture,
    PromoteCaptured,
    /// Finds what is superfluous by what it has read, which may be old.
    Condemn,
    Fail,
    Succeed,
    WriteAgain,
    /// Notes that the fleet file has the target no more, or again.
    Go,
    ComeBack,
    /// Retires it, as gone as it has read that it is.
    Retire,
}

impl Register {
    fn with_readers(skews: &[i64]) -> Self {
        let reader =
            |&skew| Reader { fold: TargetFold::new(target()), read: 0, given: None, skew, captured: None };
        let readers = skews.iter().map(reader).collect();
        Self { stream: Vec::new(), readers, snapshots: Vec::new(), condemned: Vec::new() }
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
                let promotion = Promotion {
                    follows: state.promotion,
                    promoted: PrebuildRecord::example(),
                    kept,
                    newest: None,
                    at: None,
                };
                write(Concern::Promotion(Box::new(promotion)));
            }
            Act::PromoteCaptured => {
                let Some(promoted) = reader.captured.clone() else { return };
                let kept = state.promoted.into_iter().collect();
                let promotion =
                    Promotion { follows: state.promotion, promoted, kept, newest: None, at: None };
                write(Concern::Promotion(Box::new(promotion)));
            }
            Act::Capture => {
                let prebuild = PrebuildRecord::example();
                write(Concern::Captured(captured(&prebuild)));
                self.snapshots.push(prebuild.name.clone());
                reader.captured = Some(prebuild);
            }
            Act::Condemn => {
                let is_condemned = |name: &&PrebuildName| {
                    state.superfluous(name, crate::SnapshotCondition::Whole, Utc::now()).is_some()
                };
                let found = self.snapshots.iter().filter(is_condemned);
                self.condemned.extend(found.map(|name| (self.stream.len(), name.clone())));
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
            Act::Go => write(Concern::Listing(Listing::GoneSince(at(now)))),
            Act::ComeBack => write(Concern::Listing(Listing::Listed)),
            Act::Retire => {
                let Some(gone) = state.gone.map(|gone| gone.entry) else { return };
                let revocation = Revocation { of: Revoked::Retired { gone }, until: Utc::now() };
                write(Concern::Revocation(revocation));
            }
        }
    }

    /// What was found superfluous once is never given again.
    fn check_condemned(&self) {
        for (read, name) in &self.condemned {
            let mut folded = fold(&self.stream[..*read]);
            for entry in &self.stream[*read..] {
                folded.fold(entry.clone());
                let state = folded.state();
                assert!(state.prebuilds().all(|given| given.name != *name), "{name} came back");
            }
        }
    }
}

fn captured(prebuild: &PrebuildRecord) -> CapturedPrebuild {
    let (manifest, baseline) = (String::new(), String::new());
    CapturedPrebuild { name: prebuild.name.clone(), manifest, baseline, secrets: None }
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
                let is_given =
                    |name: &_| before.state().prebuilds().any(|given: &PrebuildRecord| given.name == *name);
                let may_be = |prebuild: &PrebuildRecord| {
                    before.promotion.is_none()
                        || Some(prebuild.attempt) > before.newest_promoted
                        || is_given(&prebuild.name)
                };
                let is_known = promotion.prebuilds().all(may_be);
                assert_eq!(
                    outcome == Folded::Taken,
                    follows && is_new && is_known,
                    "taken exactly where it follows, and may be given"
                );
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
        2 => Just(Act::Promote),
        2 => Just(Act::Capture),
        2 => Just(Act::PromoteCaptured),
        1 => Just(Act::Condemn),
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
        register.check_condemned();
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
