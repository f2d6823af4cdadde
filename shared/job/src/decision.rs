//! What follows from an outcome. Pure: the clock and the dice are arguments, so the whole table is a test.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Blame, Failure, FailureKind, JobId, Outcome, Reason, RetryPolicy, Scope};

/// What is done with a delivery; each ends it, and exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Acknowledge: nothing is left to do.
    Ack,
    /// Publish to the delay queue of this length, then acknowledge.
    RetryAfter {
        /// One of the policy's delays.
        delay: Duration,
        /// Whether the next one counts.
        next: NextAttempt,
    },
    /// Publish to the dead-letter queue with this failure, then acknowledge.
    DeadLetter(Failure),
    /// Publish to the resume queue, at no cost, then acknowledge.
    HandBack,
    /// Publish nothing and acknowledge nothing: the message is another's already.
    Drop,
}

/// Whether the next attempt has the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextAttempt {
    /// The repository had its try.
    Counted,
    /// It had none: the platform was at fault, or somebody else was at work.
    Free,
}

/// What is known of the delivery beside the outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeliveryFacts {
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The job's id, to know its own earlier delivery by.
    pub job: JobId,
    /// Why the job exists.
    pub reason: Reason,
    /// How long ago it was first enqueued.
    pub age: Duration,
    /// A random number in 0..1.
    pub jitter: f64,
}

/// What follows from the outcome of an attempt.
pub fn decide(outcome: &Outcome, facts: &DeliveryFacts, policy: &RetryPolicy) -> Decision {
    match outcome {
        Outcome::Built(_)
        | Outcome::Partial { .. }
        | Outcome::Unchanged(_)
        | Outcome::OverQuota
        | Outcome::StillFailing(_)
        | Outcome::Cancelled
        | Outcome::Paused
        | Outcome::Superseded => Decision::Ack,
        Outcome::Busy { holder_job } => busy(*holder_job, facts, policy),
        Outcome::Interrupted => Decision::HandBack,
        Outcome::LeaseLost => Decision::Drop,
        Outcome::Failed(failure) => failed(failure, facts, policy),
    }
}

/// A scheduled job need not wait for another's build; a job somebody waits for does, and so does one that meets its own
/// earlier delivery, which may be dead.
fn busy(holder_job: Option<JobId>, facts: &DeliveryFacts, policy: &RetryPolicy) -> Decision {
    let own = holder_job == Some(facts.job);
    match facts.reason {
        Reason::Scheduled { .. } if !own => Decision::Ack,
        Reason::Scheduled { .. } | Reason::OnDemand | Reason::Replay => {
            let failure = || {
                Failure::new(
                    FailureKind::LeaseNeverFree,
                    "the target's sandbox stayed another attempt's for the whole life of this job; look at its labels with `harvestctl explain`",
                )
            };
            wait(policy.delay_of_at_least(policy.busy_delay), facts, policy, failure)
        }
    }
}

fn failed(failure: &Failure, facts: &DeliveryFacts, policy: &RetryPolicy) -> Decision {
    let dead = || Decision::DeadLetter(failure.clone());
    match failure.blame() {
        Blame::Repository => dead(),
        // The platform's own faults never use up a repository's attempts.
        Blame::Upstream if matches!(failure.scope, Scope::Daytona | Scope::Broker) => {
            wait(policy.delay_after(1, facts.jitter), facts, policy, || failure.clone())
        }
        Blame::Upstream | Blame::Ours => counted(failure, facts, policy, policy.max_attempts),
        Blame::Resources => counted(failure, facts, policy, policy.max_resource_attempts),
        Blame::Capacity => {
            let delay = match failure.retry_after {
                Some(after) => policy.delay_of_at_least(after),
                None => policy.delay_after(1, facts.jitter),
            };
            wait(delay, facts, policy, || failure.clone())
        }
        Blame::Configuration => match failure.scope {
            Scope::Target => dead(),
            // Never dead-lettered: one wrong key would otherwise empty the whole fleet into the dead-letter queue.
            Scope::Daytona | Scope::Broker | Scope::GitHost(_) | Scope::Registry => {
                Decision::RetryAfter { delay: policy.delay_after(2, facts.jitter), next: NextAttempt::Free }
            }
        },
    }
}

fn counted(failure: &Failure, facts: &DeliveryFacts, policy: &RetryPolicy, max_attempts: u32) -> Decision {
    if facts.attempt >= max_attempts {
        return Decision::DeadLetter(failure.clone());
    }
    let planned = policy.delay_after(facts.attempt, facts.jitter);
    let delay = failure.retry_after.map_or(planned, |after| policy.delay_of_at_least(after.max(planned)));
    Decision::RetryAfter { delay, next: NextAttempt::Counted }
}

fn wait(
    delay: Duration,
    facts: &DeliveryFacts,
    policy: &RetryPolicy,
    last: impl FnOnce() -> Failure,
) -> Decision {
    if facts.age >= policy.max_job_age {
        Decision::DeadLetter(last())
    } else {
        Decision::RetryAfter { delay, next: NextAttempt::Free }
    }
}

#[cfg(test)]
mod tests;
