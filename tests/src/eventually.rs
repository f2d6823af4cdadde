//! Waiting for facts. The only place of the tests that sleeps: everything else polls something true or false through
//! here, with a bound, and a wait that runs out says what was seen last.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// How long to rest between two looks: short beside any deadline, long beside a syscall.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// A wait whose deadline passed before the fact became true.
#[derive(Debug, thiserror::Error)]
#[error("{what}: not within {deadline:?} ({looks} looks); last status: {last_status}")]
pub struct NeverHappened {
    /// What was waited for.
    pub what: String,
    /// How long it was waited for.
    pub deadline: Duration,
    /// How often it was looked at.
    pub looks: u32,
    /// What the last look answered.
    pub last_status: String,
}

/// Polls `look` until it answers `Ok`, and panics with its last `Err` once `deadline` has passed.
///
/// A look that itself hangs is cut off at the deadline, so a bound is a bound.
pub async fn eventually<T, Status: Display>(
    deadline: Duration,
    what: &str,
    look: impl AsyncFnMut() -> Result<T, Status>,
) -> T {
    match within(deadline, what, look).await {
        Ok(fact) => fact,
        Err(never) => panic!("{never}"),
    }
}

/// [`eventually`] for callers that have something better to do than panic.
pub async fn within<T, Status: Display>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<T, NeverHappened> {
    let end = Instant::now() + deadline;
    let mut looks = 0;
    let mut last_status = String::from("the first look never returned");
    loop {
        looks += 1;
        match tokio::time::timeout_at(end, look()).await {
            Ok(Ok(fact)) => return Ok(fact),
            Ok(Err(status)) => last_status = status.to_string(),
            Err(_elapsed) => last_status = format!("a look hung; before it: {last_status}"),
        }
        if Instant::now() + BETWEEN_LOOKS >= end {
            return Err(NeverHappened { what: what.to_owned(), deadline, looks, last_status });
        }
        rest().await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one sleep of the tests: every other wait goes through here"
)]
async fn rest() {
    tokio::time::sleep(BETWEEN_LOOKS).await;
}
