//! A worker that does what a test tells it: it takes jobs and says how they ended, over the broker crate.

use broker::{Broker, Delivery, Register, Settled, WorkQueue};
use chrono::Utc;
use fleet_tests::eventually;
use job::{
    AttemptEnd, AttemptId, DeadLetterReason, DeadLetterRecord, Failure, FailureKind, FleetName, Job,
    LedgerEntry, LedgerEvent, NextAttempt, OpenDeadLetter, OutcomeWord, RegisterEntry, Tail, Target,
    TargetState,
};
use tokio_util::sync::CancellationToken;

use super::scene::{SOON, Scene};

/// A worker of one fleet, with a broker handle of its own.
pub(super) struct Worker {
    fleet: FleetName,
    pub(super) broker: Broker,
}

impl Worker {
    pub(super) async fn of(scene: &Scene) -> Self {
        Self { fleet: scene.fleet.clone(), broker: scene.broker().await }
    }

    pub(super) async fn take(&self) -> (Delivery, Job) {
        let mut slot = self.broker.slot_on(&[WorkQueue::OnDemand]);
        let taken = tokio::time::timeout(SOON, slot.take(&CancellationToken::new())).await;
        let delivery = taken.expect("a delivery in time").expect("the broker handle is open");
        let job = delivery.job(&self.fleet).unwrap();
        (delivery, job)
    }

    pub(super) async fn tell(&self, event: LedgerEvent) {
        let entry = LedgerEntry::new(Utc::now(), "worker-1", event);
        let told =
            async || self.broker.publisher().publish_ledger(&entry).await.map_err(|error| error.to_string());
        eventually(SOON, "the ledger takes an entry", told).await;
    }

    pub(super) async fn ended(&self, job: &Job, number: u32, outcome: OutcomeWord, decision: &str) {
        let retried = decision == "retry";
        self.tell(LedgerEvent::AttemptEnded(Box::new(AttemptEnd {
            job: job.id,
            target: job.target.clone(),
            attempt: AttemptId::new(),
            number,
            max_attempts: 3,
            outcome,
            decision: decision.to_owned(),
            retry_milliseconds: retried.then_some(200),
            next: retried.then_some(NextAttempt::Counted),
            failure: (outcome == OutcomeWord::Failed).then(failure),
            commit: None,
            prebuild: None,
            stages: Vec::new(),
            milliseconds: 1_200,
        })))
        .await;
    }

    pub(super) async fn build(&self, job: &Job, delivery: Delivery) {
        self.ended(job, 1, OutcomeWord::Built, "ack").await;
        assert_eq!(delivery.ack().await, Settled::Done);
    }

    pub(super) async fn dead_letter(&self, job: &Job, delivery: Delivery) {
        let record = DeadLetterRecord {
            reason: DeadLetterReason::Failed,
            at: Utc::now(),
            worker: "worker-1".to_owned(),
            job: Some(job.id),
            target: Some(job.target.clone()),
            failure: Some(failure()),
            decode_error: None,
            cut: None,
            queue: "ondemand".to_owned(),
            trace_id: None,
        };
        let mut state = TargetState::new(job.target.clone(), Utc::now());
        let now = Utc::now();
        let open = OpenDeadLetter { job: job.id, count: 1, first: now, last: now };
        state.open_dead_letters.insert(failure().id, open);
        assert_eq!(delivery.dead_letter(record).await, Settled::Done);
        self.put(state).await;
        self.ended(job, 1, OutcomeWord::Failed, "dead_letter").await;
    }

    pub(super) async fn put(&self, state: TargetState) {
        let entry = RegisterEntry::Target(Box::new(state));
        self.broker.publisher().publish_register(&entry).await.unwrap();
    }

    pub(super) async fn known(&self, target: &Target) -> Option<TargetState> {
        let register = Register::follow(&self.broker);
        register.sync(SOON).await.unwrap();
        register.get(target).map(|state| TargetState::clone(&state))
    }
}

pub(super) fn failure() -> Failure {
    let tail = Tail::of("npm error missing: left-pad@1.3.0\n");
    Failure::new(FailureKind::InstallRegistryUnavailable, "registry answered 503").with_output(Some(1), tail)
}
