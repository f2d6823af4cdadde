//! The register between two writers: what one promoted, no copy that another read before undoes.

use ::broker::Register;
use job::{
    AttemptId, Concern, Folded, JobId, LastAttempt, OutcomeWord, PrebuildRecord, Promotion, RegisterEntry,
    Target, TargetFold, TargetState,
};

use super::*;

fn target() -> Target {
    "owner/name@main".parse().unwrap()
}

fn prebuild() -> PrebuildRecord {
    PrebuildRecord::example_of(&fleet(), &target())
}

fn failed_attempt() -> LastAttempt {
    LastAttempt {
        job: JobId::on_demand(),
        attempt: AttemptId::new(),
        number: 1,
        outcome: OutcomeWord::Failed,
        failure: None,
        commit: None,
        at: Utc::now(),
        milliseconds: 1,
        trace_id: None,
    }
}

/// Two programs of one fleet, each with a register of its own.
struct Two {
    brokers: [Broker; 2],
    first: Register,
    second: Register,
    _host: VirtualHost,
}

impl Two {
    async fn start() -> Self {
        let (host, fleet) = (virtual_host().await, fleet());
        let first = connect_to(&host.amqp_url(), &fleet).await;
        let second = connect_to(&host.amqp_url(), &fleet).await;
        let (register, other) = (Register::follow(&first), Register::follow(&second));
        Self { first: register, second: other, brokers: [first, second], _host: host }
    }

    /// What both know, and a third that begins to read now.
    async fn known(&self) -> TargetState {
        let late = Register::follow(&self.brokers[0]);
        for register in [&self.first, &self.second, &late] {
            register.sync(SOON).await.unwrap();
        }
        let known = late.get(&target()).unwrap();
        assert_eq!(
            [self.first.get(&target()), self.second.get(&target())].map(Option::unwrap),
            [known.clone(), known.clone()]
        );
        TargetState::clone(&known)
    }

    async fn end(self) {
        for broker in self.brokers {
            broker.close().await;
        }
    }
}

/// A promotion by whoever has read this much of the register.
fn promotion(register: &Register, promoted: &PrebuildRecord) -> Concern {
    let known = register.get(&target());
    let kept = known.iter().filter_map(|known| known.promoted.clone()).collect();
    let follows = known.and_then(|known| known.promotion);
    Concern::Promotion(Box::new(Promotion {
        follows,
        promoted: promoted.clone(),
        kept,
        newest: None,
        at: None,
    }))
}

#[tokio::test]
async fn a_promotion_over_a_newer_one_is_refused_and_seen() {
    let two = Two::start().await;
    let (older, newer, late) = (prebuild(), prebuild(), prebuild());
    let first = two.first.append(&target(), promotion(&two.first, &older), SOON).await.unwrap();
    two.second.sync(SOON).await.unwrap();
    // What the second knows by now is what it writes from, whatever it reads before it has written.
    let from_old_copy = promotion(&two.second, &late);
    let second = two.first.append(&target(), promotion(&two.first, &newer), SOON).await.unwrap();
    let third = two.second.append(&target(), from_old_copy, SOON).await.unwrap();
    assert_eq!([first, second, third], [Folded::Taken, Folded::Taken, Folded::Refused]);
    assert_eq!(two.known().await.promoted.as_ref(), Some(&newer));

    let again = two.second.append(&target(), promotion(&two.second, &late), SOON).await.unwrap();
    assert_eq!(again, Folded::Taken);
    let known = two.known().await;
    assert_eq!((known.promoted, known.kept), (Some(late), vec![newer]));
    two.end().await;
}

#[tokio::test]
async fn what_is_noted_from_an_old_copy_undoes_nothing() {
    let two = Two::start().await;
    let (older, newer, last) = (prebuild(), prebuild(), failed_attempt());
    two.first.append(&target(), promotion(&two.first, &older), SOON).await.unwrap();
    two.second.sync(SOON).await.unwrap();
    two.first.append(&target(), promotion(&two.first, &newer), SOON).await.unwrap();
    two.second.note(&target(), Concern::Attempt(Box::new(last.clone()))).await.unwrap();
    let known = two.known().await;
    assert_eq!((&known.promoted, &known.last), (&Some(newer), &Some(last)));
    // Written anew from a copy that does not know of the newer one.
    let mut keeper = TargetFold::new(target());
    keeper.fold_whole_state(TargetState { promoted: Some(older), ..TargetState::new(target(), Utc::now()) });
    for entry in keeper.written_again() {
        two.first.put(&RegisterEntry::Concern(Box::new(entry))).await.unwrap();
    }
    assert_eq!(two.known().await.promoted, known.promoted);
    two.end().await;
}

#[tokio::test]
async fn what_0_1_writes_of_an_attempt_undoes_no_promotion() {
    let two = Two::start().await;
    let (promoting, failing) = (&two.first, &two.second);
    let (older, newer, last) = (prebuild(), prebuild(), failed_attempt());
    let state = TargetState { promoted: Some(older.clone()), ..TargetState::new(target(), Utc::now()) };
    promoting.put(&RegisterEntry::Target(Box::new(state.clone()))).await.unwrap();
    failing.sync(SOON).await.unwrap();
    let copy = TargetState::clone(&failing.get(&target()).unwrap());

    let (kept, updated_at) = (vec![older], Utc::now());
    let promotion = TargetState { promoted: Some(newer.clone()), kept, updated_at, ..state };
    promoting.put(&RegisterEntry::Target(Box::new(promotion))).await.unwrap();
    let note = TargetState { last: Some(last.clone()), updated_at: last.at, ..copy };
    failing.put(&RegisterEntry::Target(Box::new(note))).await.unwrap();
    let known = two.known().await;
    assert_eq!((known.promoted, known.last), (Some(newer), Some(last)));
    two.end().await;
}
