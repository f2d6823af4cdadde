//! When to try again: bounded, growing, jittered, and written out in config/worker.toml.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The rules of retrying; one value for the whole fleet, since the delays are queues in RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in total, for failures that are upstream's or ours.
    pub max_attempts: u32,
    /// Attempts in total, for want of memory, disk or time.
    pub max_resource_attempts: u32,
    /// The delay queues, growing.
    #[serde(with = "durations")]
    pub delays: Vec<Duration>,
    /// How long a job that met another attempt's lease waits.
    #[serde(with = "humantime_serde")]
    pub busy_delay: Duration,
    /// How old a job may get while it waits without using attempts.
    #[serde(with = "humantime_serde")]
    pub max_job_age: Duration,
    /// How many deliveries without an end of the attempt are taken for a crash of the worker.
    pub max_crashes: u32,
}

#[cfg(any(test, feature = "testing"))]
impl RetryPolicy {
    /// What tests calculate with: the values that config/worker.toml ships, to which a test of the worker holds it.
    pub fn example() -> Self {
        Self {
            max_attempts: 3,
            max_resource_attempts: 2,
            delays: vec![
                Duration::from_secs(30),
                Duration::from_mins(2),
                Duration::from_mins(10),
                Duration::from_mins(30),
            ],
            busy_delay: Duration::from_secs(30),
            max_job_age: Duration::from_hours(24),
            max_crashes: 3,
        }
    }
}

/// A policy that could not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidRetryPolicy {
    /// There must be a delay queue.
    #[error("retry.delays is empty: name at least one delay, for example [\"30s\", \"2m\"]")]
    NoDelays,
    /// Each delay must be longer than the one before.
    #[error("retry.delays must grow from one to the next and be at least 10ms")]
    NotGrowing,
    /// At least one attempt.
    #[error("retry.max_attempts, retry.max_resource_attempts and retry.max_crashes must be at least 1")]
    NoAttempts,
}

impl RetryPolicy {
    /// Whether the policy can work at all.
    pub fn validate(&self) -> Result<(), InvalidRetryPolicy> {
        let first = *self.delays.first().ok_or(InvalidRetryPolicy::NoDelays)?;
        if first < Duration::from_millis(10) || !self.delays.is_sorted_by(|a, b| a < b) {
            return Err(InvalidRetryPolicy::NotGrowing);
        }
        if self.max_attempts == 0 || self.max_resource_attempts == 0 || self.max_crashes == 0 {
            return Err(InvalidRetryPolicy::NoAttempts);
        }
        Ok(())
    }

    /// The delay queue after the `attempt`th attempt (from 1). `jitter` in 0..1 sends a quarter of the jobs one queue
    /// further, so that what failed together does not come back together.
    pub fn delay_after(&self, attempt: u32, jitter: f64) -> Duration {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let step = step.saturating_add(usize::from(jitter >= 0.75));
        self.queue(step)
    }

    /// The shortest delay queue that is not shorter than `wanted`; the longest when none is.
    pub fn delay_of_at_least(&self, wanted: Duration) -> Duration {
        self.delays.iter().copied().find(|delay| *delay >= wanted).unwrap_or_else(|| self.queue(usize::MAX))
    }

    fn queue(&self, step: usize) -> Duration {
        let last = self.delays.len().saturating_sub(1);
        self.delays.get(step.min(last)).copied().unwrap_or(Duration::from_secs(30))
    }
}

mod durations {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(with = "humantime_serde")] Duration);

    pub(super) fn serialize<S: Serializer>(delays: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(delays.iter().map(|delay| Text(*delay)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<Text>::deserialize(deserializer)?.into_iter().map(|text| text.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_grow_with_the_attempt_and_round_up_to_a_queue() {
        let policy = RetryPolicy::example();
        policy.validate().unwrap();
        let seconds = |delay: Duration| delay.as_secs();
        assert_eq!([1, 2, 3, 4, 99].map(|n| seconds(policy.delay_after(n, 0.0))), [30, 120, 600, 1800, 1800]);
        assert_eq!([1, 2, 3, 4].map(|n| seconds(policy.delay_after(n, 0.9))), [120, 600, 1800, 1800]);
        assert_eq!(seconds(policy.delay_of_at_least(Duration::from_secs(31))), 120);
        assert_eq!(seconds(policy.delay_of_at_least(Duration::from_hours(9))), 1800);
    }

    #[test]
    fn policies_that_cannot_work_are_refused() {
        let with = |delays: &[u64]| RetryPolicy {
            delays: delays.iter().map(|s| Duration::from_secs(*s)).collect(),
            ..RetryPolicy::example()
        };
        assert_eq!(with(&[]).validate(), Err(InvalidRetryPolicy::NoDelays));
        assert_eq!(with(&[5, 5]).validate(), Err(InvalidRetryPolicy::NotGrowing));
        assert_eq!(with(&[0]).validate(), Err(InvalidRetryPolicy::NotGrowing));
        assert_eq!(
            RetryPolicy { max_attempts: 0, ..RetryPolicy::example() }.validate(),
            Err(InvalidRetryPolicy::NoAttempts)
        );
    }

    proptest! {
        #[test]
        fn a_later_attempt_never_waits_less(attempt in 1_u32..50, jitter in 0.0..1.0) {
            let policy = RetryPolicy::example();
            prop_assert!(policy.delay_after(attempt, jitter) <= policy.delay_after(attempt + 1, jitter));
        }
    }
}
