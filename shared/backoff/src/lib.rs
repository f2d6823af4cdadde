//! How long to wait before something is tried again: growing, bounded and jittered, so that what failed together does not
//! come back together.
//!
//! Jitter only shortens a pause, so the longest one is a bound that other parts may rely on. What is tried, how often and
//! whether it may be repeated at all does not belong here, and nothing here sleeps.

#![warn(missing_docs)]

use std::time::Duration;

use thiserror::Error;

/// The least that is left of a pause, as a part of it.
const LEAST: f64 = 0.75;

/// A policy of growing pauses; one that could not work cannot be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: f64,
    longest: Duration,
}

/// Why a policy could not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidBackoff {
    /// What failed would be tried again without any pause.
    #[error("the first pause is zero")]
    NoPause,
    /// The pauses would shrink, or not be numbers.
    #[error("the factor is less than 1 or not a number")]
    NotGrowing,
    /// The first pause would be longer than any may be.
    #[error("the longest pause is shorter than the first")]
    LongestTooShort,
}

impl Backoff {
    /// Pauses from `first` on, each `factor` times the one before, none longer than `longest`.
    pub const fn try_new(first: Duration, factor: f64, longest: Duration) -> Result<Self, InvalidBackoff> {
        if first.is_zero() {
            return Err(InvalidBackoff::NoPause);
        }
        if !(factor >= 1.0 && factor.is_finite()) {
            return Err(InvalidBackoff::NotGrowing);
        }
        if longest.as_nanos() < first.as_nanos() {
            return Err(InvalidBackoff::LongestTooShort);
        }
        Ok(Self { first, factor, longest })
    }

    /// The same for a `const`, where a policy that could not work does not compile. Elsewhere it would panic.
    pub const fn constant(first: Duration, factor: f64, longest: Duration) -> Self {
        match Self::try_new(first, factor, longest) {
            Ok(backoff) => backoff,
            Err(_) => {
                panic!("the first pause is zero, the factor below 1, or the longest pause below the first")
            }
        }
    }

    /// The first pause, without jitter.
    pub const fn first(&self) -> Duration {
        self.first
    }

    /// The pauses of one series of tries, from the first on.
    pub const fn pauses(self) -> Pauses {
        Pauses { backoff: self, next: self.first }
    }
}

/// Where one series of tries stands.
#[derive(Debug, Clone)]
pub struct Pauses {
    backoff: Backoff,
    next: Duration,
}

impl Pauses {
    /// The pause before the next try, jittered; the one after it will be longer.
    pub fn next_pause(&mut self) -> Duration {
        jittered(self.advance())
    }

    /// Begins again with the first pause: something has worked.
    pub fn reset(&mut self) {
        self.next = self.backoff.first;
    }

    fn advance(&mut self) -> Duration {
        let pause = self.next;
        // Compared before it is a duration again: a duration cannot hold every product.
        let grown = pause.as_secs_f64() * self.backoff.factor;
        let longest = self.backoff.longest;
        self.next = if grown < longest.as_secs_f64() { Duration::from_secs_f64(grown) } else { longest };
        pause
    }
}

/// Three quarters of a pause to all of it.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(LEAST..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Backoff = Backoff::constant(Duration::from_millis(500), 1.5, Duration::from_secs(5));

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_again() {
        let mut pauses = POLICY.pauses();
        let seen: Vec<u128> = (0..8).map(|_| pauses.advance().as_millis()).collect();
        assert_eq!(seen, [500, 750, 1125, 1687, 2531, 3796, 5000, 5000]);
        pauses.reset();
        assert_eq!(pauses.advance(), POLICY.first());
    }

    #[test]
    fn jitter_takes_at_most_a_quarter_and_adds_nothing() {
        let mut pauses = POLICY.pauses();
        assert!((375..=500).contains(&pauses.next_pause().as_millis()));
        for _ in 0..200 {
            let pause = jittered(Duration::from_secs(10));
            assert!((7.5..=10.0).contains(&pause.as_secs_f64()), "{pause:?}");
            assert!(pauses.next_pause() <= Duration::from_secs(5));
        }
    }

    #[test]
    fn policies_that_could_not_work_are_refused() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1));
        for (first, factor, longest, expected) in [
            (Duration::ZERO, 2.0, long, InvalidBackoff::NoPause),
            (short, 0.9, long, InvalidBackoff::NotGrowing),
            (short, f64::NAN, long, InvalidBackoff::NotGrowing),
            (short, f64::INFINITY, long, InvalidBackoff::NotGrowing),
            (long, 2.0, short, InvalidBackoff::LongestTooShort),
        ] {
            assert_eq!(Backoff::try_new(first, factor, longest), Err(expected));
        }
        assert!(Backoff::try_new(long, 1.0, long).is_ok());
    }
}
