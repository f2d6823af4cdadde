//! How fast something is asked again: growing, bounded, jittered.
//!
//! The rate limit is shared by the whole organization, and a thousand builds polling in step would meet it.

use std::time::Duration;

/// A series of growing pauses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The first pause.
    pub first: Duration,
    /// What each pause is multiplied by to get the next.
    pub factor: f64,
    /// No pause is longer.
    pub longest: Duration,
}

impl Pace {
    /// For a state that changes within seconds to minutes.
    pub const STATE: Self =
        Self { first: Duration::from_millis(500), factor: 1.5, longest: Duration::from_secs(5) };
    /// For measuring a cold start: what it adds to the measure stays below 25 ms in the first half second.
    pub const COLD_START: Self =
        Self { first: Duration::from_millis(20), factor: 1.1, longest: Duration::from_millis(250) };
    /// For a capture, which takes minutes.
    pub const CAPTURE: Self =
        Self { first: Duration::from_secs(2), factor: 1.3, longest: Duration::from_secs(10) };
    /// For repeating a call that failed on the way.
    pub const REPEAT: Self =
        Self { first: Duration::from_millis(250), factor: 3.0, longest: Duration::from_secs(5) };

    /// The pause after `pause`, without jitter.
    pub(crate) fn after(&self, pause: Duration) -> Duration {
        pause.mul_f64(self.factor.max(1.0)).min(self.longest)
    }
}

/// `pause`, 20 % up or down.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let mut pause = Pace::STATE.first;
        let mut seen = vec![];
        for _ in 0..8 {
            seen.push(pause.as_millis());
            pause = Pace::STATE.after(pause);
        }
        assert_eq!(seen, [500, 750, 1125, 1687, 2531, 3796, 5000, 5000]);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..200 {
            let pause = jittered(Duration::from_secs(10));
            assert!((8.0..=12.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }
}
