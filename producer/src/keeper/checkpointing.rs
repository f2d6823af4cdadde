//! Writes checkpoints of the register, so that nothing ages out of its stream and nobody reads it from its oldest entry.

use std::error::Error;
use std::time::Duration;

use broker::{CheckpointStatus, Publisher, Register};
use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval};

use crate::Clock;

/// The stream keeps entries for three days: several checkpoints may fail before anything ages out.
const EVERY: Duration = Duration::from_hours(12);
/// Fewer entries than these are read in no time.
const FEW: u64 = 1000;
/// How often it is seen whether one is due.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How long the register may take to come to where the checkpoint begins.
const PATIENCE: Duration = Duration::from_mins(2);

/// Writes one whenever one is due, for as long as it is let.
pub(super) async fn run(register: &Register, publisher: &Publisher, clock: &Clock) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        write_if_due(register, publisher, clock).await;
    }
}

/// Writes one if one is due.
pub(super) async fn write_if_due(register: &Register, publisher: &Publisher, clock: &Clock) {
    if is_due(register.checkpoint_status(), register.target_count(), clock.now()) {
        match register.write_checkpoint(publisher, PATIENCE).await {
            Ok(written) => tracing::info!(
                targets = written.targets,
                parts = written.parts,
                bytes = written.bytes,
                "checkpoint of the register written"
            ),
            Err(error) => tracing::warn!(
                error = &error as &dyn Error,
                "no checkpoint of the register; the last one stands, and the next is tried soon"
            ),
        }
    }
}

/// Whether reading on from the last checkpoint takes much longer than reading it, or it may age out.
fn is_due(status: CheckpointStatus, targets: usize, now: DateTime<Utc>) -> bool {
    let as_many_as_it_holds = FEW.max(u64::try_from(targets).unwrap_or(u64::MAX));
    match status.last {
        None => status.entries_since > 0,
        // By another producer's clock, which may be ahead.
        Some(last) => {
            status.entries_since >= as_many_as_it_holds
                || (now - last).abs().to_std().is_ok_and(|age| age >= EVERY)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_due_before_it_ages_out_or_is_long_to_follow() {
        let now = Utc::now();
        let status = |age: Option<Duration>, entries_since| CheckpointStatus {
            last: age.map(|age| now - age),
            entries_since,
        };
        assert!(!is_due(status(None, 0), 0, now), "there is nothing to write");
        assert!(is_due(status(None, 1), 1, now));
        let soon = EVERY.checked_sub(Duration::from_secs(1));
        assert!(!is_due(status(soon, 999), 10, now));
        assert!(is_due(status(soon, 1000), 10, now));
        assert!(!is_due(status(soon, 1000), 1001, now));
        assert!(is_due(status(Some(EVERY), 0), 10, now), "nothing came, and it ages all the same");
        let ahead = now + EVERY;
        assert!(
            is_due(CheckpointStatus { last: Some(ahead), ..status(None, 0) }, 10, now),
            "a clock was wrong"
        );
    }
}
