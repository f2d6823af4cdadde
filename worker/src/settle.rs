//! The one place where a delivery ends: decide, perform, remember, report.
//!
//! The message goes where it must first (confirmed before it is acknowledged), and only then do register and ledger
//! learn of it: a worker that dies in between causes a repetition, never a loss.

mod ended_attempt;
mod report;

use std::time::Duration;

use broker::{Delivery, Settled};
use chrono::Utc;
use job::{Decision, DeliveryFacts, Outcome, RetryPolicy, decide};
use tracing::Span;

use self::ended_attempt::{DeadLetterUse, EndedAttempt};
pub(crate) use self::report::Reporter;
use crate::attempt::{Attempt, AttemptFacts};
use crate::target_register::TargetRegister;

/// Ends deliveries, and remembers and reports how they ended.
#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) policy: RetryPolicy,
    pub(crate) register: TargetRegister,
    pub(crate) reporter: Reporter,
}

impl Settler {
    /// Ends the delivery of this attempt.
    pub(crate) async fn settle(
        &self,
        delivery: Delivery,
        attempt: &Attempt,
        outcome: &Outcome,
        took: Duration,
    ) {
        let now = Utc::now();
        let delivered = DeliveryFacts {
            attempt: attempt.number,
            job: attempt.job.id,
            reason: attempt.job.reason,
            age: (now - attempt.envelope.first_enqueued).to_std().unwrap_or(Duration::ZERO),
            jitter: rand::random(),
        };
        let ended = EndedAttempt {
            attempt,
            outcome,
            decision: decide(outcome, &delivered, &self.policy),
            facts: AttemptFacts { failure: outcome.failure().cloned(), ..attempt.facts() },
            took,
            at: now,
            trace_id: telemetry::current_trace_id(),
            traceparent: telemetry::traceparent_of(&Span::current()),
        };
        let state = self.register.get(&attempt.job.target);
        let dead_letter_use = ended.dead_letter_use(state.as_deref());
        let settled = perform(delivery, &ended, dead_letter_use).await;
        if settled == Settled::Done {
            remember(&self.register, &ended).await;
        }
        self.reporter.report(&ended, settled);
    }
}

/// Carries the decision out. What follows is confirmed before the delivery is acknowledged.
async fn perform(delivery: Delivery, ended: &EndedAttempt<'_>, dead_letter_use: DeadLetterUse) -> Settled {
    match &ended.decision {
        Decision::Ack => delivery.ack().await,
        Decision::RetryAfter { delay, next } => {
            delivery.retry_after(*delay, ended.next_envelope(*next)).await
        }
        Decision::HandBack => delivery.hand_back(ended.handed_back_envelope()).await,
        Decision::DeadLetter(failure) => match dead_letter_use {
            DeadLetterUse::Queue => {
                let record = ended.dead_letter_record(failure, delivery.message().queue.as_str());
                delivery.dead_letter(record).await
            }
            DeadLetterUse::Count => delivery.ack().await,
        },
        Decision::Drop => {
            delivery.drop_lost();
            Settled::Lost
        }
    }
}

/// Notes how the attempt ended, each concern by itself. The register is read anew first, to count what was counted before.
async fn remember(register: &TargetRegister, ended: &EndedAttempt<'_>) {
    let target = &ended.attempt.job.target;
    if ended.notes(register.get(target).as_deref()).is_empty() {
        return;
    }
    let written = async {
        let known = register.catch_up_and_get(target).await.map_err(|_| "it could not be read")?;
        for about in ended.notes(known.as_deref()) {
            register.note(target, about).await.map_err(|_| "it could not be written")?;
        }
        Ok::<(), &str>(())
    };
    if let Err(why) = written.await {
        tracing::warn!(why, "the register does not know of this attempt; the next one tells it");
    }
}
