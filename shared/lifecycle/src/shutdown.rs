//! The two steps of going away: *draining* (take nothing new, finish what is here) and *forced* (stop now).
//!
//! Both are cancellation tokens and only ever go forward; forced implies draining.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a program takes at most to leave once its work has ended or its drain deadline has passed: what it held is given up, the
/// last entries and spans are written, connections are closed. The chart's grace period is this and some to spare.
pub const FAREWELL: Duration = Duration::from_secs(20);

/// A handle to the shutdown of one program. Clones share the same state; made by hand in tests, by
/// [`Lifecycle`](crate::Lifecycle) in programs.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    forced: CancellationToken,
    leaves: Arc<OnceLock<Instant>>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a drain that did not finish left work behind"]
pub enum Drain<T> {
    /// The work ended by itself, with this result.
    Drained(T),
    /// The deadline passed first; the work was dropped where it stood.
    DeadlinePassed,
    /// A second signal came first; the work was dropped where it stood.
    Forced,
}

impl Shutdown {
    /// A shutdown that nothing has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled from the moment on which nothing new is to be taken.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when everything is to stop at once.
    pub fn forced(&self) -> &CancellationToken {
        &self.forced
    }

    /// Asks for a drain. Asking again changes nothing.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Asks for an immediate end.
    pub fn force(&self) {
        self.draining.cancel();
        self.forced.cancel();
    }

    /// Gives `work` until `deadline` (counted from now) to end, less when the shutdown is forced.
    ///
    /// `work` is polled first: what is already finished counts as drained even with a deadline of zero.
    pub async fn drain_within<F: Future>(&self, deadline: Duration, work: F) -> Drain<F::Output> {
        tokio::select! {
            biased;
            output = work => Drain::Drained(output),
            () = self.forced.cancelled() => Drain::Forced,
            () = tokio::time::sleep(deadline) => Drain::DeadlinePassed,
        }
    }

    /// The one bound that all farewells of the program share. It begins with the first call.
    pub fn farewell(&self) -> Farewell {
        Farewell { until: *self.leaves.get_or_init(|| Instant::now() + FAREWELL) }
    }
}

/// Until when a program has left, whatever is not done by then.
#[derive(Debug, Clone, Copy)]
pub struct Farewell {
    until: Instant,
}

impl Farewell {
    /// Gives `last` the time that is left, but for what is `reserved` for farewells after it. None when that was not enough.
    pub async fn wait<F: Future>(self, reserved: Duration, last: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.until - reserved, last).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_is_drained() {
        let shutdown = Shutdown::new();
        let work = async {
            tokio::time::sleep(Duration::from_secs(59)).await;
            7
        };
        assert_eq!(shutdown.drain_within(Duration::from_mins(1), work).await, Drain::Drained(7));
    }

    #[tokio::test(start_paused = true)]
    async fn finished_work_is_drained_even_without_any_time() {
        assert_eq!(Shutdown::new().drain_within(Duration::ZERO, ready(1)).await, Drain::Drained(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_the_call() {
        let started = tokio::time::Instant::now();
        let drain = Shutdown::new().drain_within(Duration::from_mins(1), pending::<()>()).await;
        assert_eq!(drain, Drain::DeadlinePassed);
        assert_eq!(started.elapsed(), Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn force_cuts_a_drain_short() {
        let shutdown = Shutdown::new();
        let started = tokio::time::Instant::now();
        let (drain, ()) =
            tokio::join!(shutdown.drain_within(Duration::from_mins(1), pending::<()>()), async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                shutdown.clone().force();
            });
        assert_eq!(drain, Drain::Forced);
        assert_eq!(started.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn all_farewells_share_one_bound() {
        let shutdown = Shutdown::new();
        let started = Instant::now();
        let reserved = Duration::from_secs(6);
        assert_eq!(shutdown.farewell().wait(reserved, pending::<()>()).await, None);
        assert_eq!(started.elapsed() + reserved, FAREWELL);
        assert_eq!(shutdown.clone().farewell().wait(Duration::ZERO, pending::<()>()).await, None);
        assert_eq!(started.elapsed(), FAREWELL);
        assert_eq!(
            shutdown.farewell().wait(reserved, ready(1)).await,
            Some(1),
            "what has ended needs no time"
        );
    }

    #[test]
    fn forced_implies_draining_and_not_the_other_way_round() {
        let shutdown = Shutdown::new();
        shutdown.drain();
        assert!(shutdown.draining().is_cancelled() && !shutdown.forced().is_cancelled());
        let shutdown = Shutdown::new();
        shutdown.force();
        assert!(shutdown.draining().is_cancelled() && shutdown.forced().is_cancelled());
    }
}
