//! What there is to say of each target, as metrics: one process says it, since only one may.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{StaleReason, TargetState};
use tokio::time::{MissedTickBehavior, interval};

use super::{Keeper, SleepingPrebuilds};
use crate::metrics::{ProducerMetrics, TargetFigures};

/// Prometheus asks every 15 to 60 seconds.
const EVERY: Duration = Duration::from_secs(10);

impl Keeper {
    /// Says it anew every few seconds, for as long as it is let. Who is not the keeper any more says nothing of targets.
    pub(super) async fn measure(&self) {
        let _silent_afterwards = Silence(&self.metrics);
        let mut rounds = interval(EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let Some(listed) = self.listing.borrow().clone() else { continue };
            // Of each listed target, whether the register knows of it or not; what is no longer listed is not asked about.
            let figures = listed.targets.iter().map(|(target, _)| match self.register.get(target) {
                Some(state) => figures(&state, &self.sleeping, self.clock.now()),
                None => TargetFigures::never_built(target),
            });
            self.metrics.record_each_target(figures.collect());
        }
    }
}

struct Silence<'a>(&'a ProducerMetrics);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.record_each_target(Vec::new());
    }
}

fn figures(state: &TargetState, sleeping: &SleepingPrebuilds, now: DateTime<Utc>) -> TargetFigures {
    let sleeps = state.promoted.as_ref().is_some_and(|promoted| sleeping.contains(&promoted.snapshot_id));
    TargetFigures {
        target: state.target.to_string(),
        built_at: state.promoted.as_ref().map(|promoted| promoted.built_at),
        last_attempt: state.last.as_ref().map(|last| (last.outcome.as_str(), last.at)),
        stale: StaleReason::of(state, now).or(sleeps.then_some(StaleReason::Asleep)),
    }
}
