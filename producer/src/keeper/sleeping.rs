//! The promoted prebuilds that Daytona has put to sleep. Nothing starts from one, and nothing wakes it: activating a captured
//! snapshot ends in `error`, for good. So its target is built anew, ahead of what the schedule has queued, and said to be stale.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{JobMessage, PublishSpan, WorkQueue};
use daytona::{Client, Snapshot, SnapshotState};
use job::{Envelope, Job, Settings, Target, TargetState};

use super::Keeper;

/// Taken before the schedule's own jobs.
const QUEUE: WorkQueue = WorkQueue::OnDemand;
/// Jobs of one look; the rest waits for the next, so that what people ask for is not held up for long.
const AT_ONCE: usize = 50;
/// How long publishing them may take, reconnecting included.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether a job was published for a sleeping prebuild's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    NotYet,
    Published,
}

/// By the snapshot's id, as last looked at: shared by who looks and who measures.
#[derive(Debug, Clone, Default)]
pub(crate) struct SleepingPrebuilds(Arc<Mutex<HashMap<String, Asked>>>);

impl SleepingPrebuilds {
    /// Whether this snapshot slept when it was looked at last.
    pub(super) fn contains(&self, snapshot: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(snapshot)
    }

    /// Remembers these and no others, and says for which nothing was published yet.
    fn replace<'a>(&self, asleep: &[&'a Sleeper]) -> Vec<&'a Sleeper> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        let asked = |sleeper: &Sleeper| before.get(&sleeper.snapshot).copied().unwrap_or(Asked::NotYet);
        known.extend(asleep.iter().map(|sleeper| (sleeper.snapshot.clone(), asked(sleeper))));
        asleep.iter().copied().filter(|sleeper| asked(sleeper) == Asked::NotYet).collect()
    }

    fn note_published(&self, snapshot: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = known.get_mut(snapshot) {
            *asked = Asked::Published;
        }
    }
}

/// A target whose promoted prebuild sleeps.
#[derive(Debug, PartialEq, Eq)]
struct Sleeper {
    target: Target,
    snapshot: String,
}

impl Keeper {
    /// Publishes a job, once, for each listed target whose promoted prebuild sleeps. A keeper that follows this one may publish it
    /// again: whoever takes the second finds the target taken, or built.
    pub(super) async fn build_sleepers_anew(
        &self,
        client: &Client,
        snapshots: &[Snapshot],
        states: impl Iterator<Item = &Arc<TargetState>>,
    ) {
        let asleep = find_sleepers(snapshots, states);
        let all: Vec<&Sleeper> = asleep.iter().collect();
        let new = self.sleeping.replace(&all);
        let Some(listed) = self.listing.borrow().clone() else { return };
        let settings: HashMap<&Target, &Settings> =
            listed.targets.iter().map(|(target, settings)| (target, settings)).collect();
        let now = self.clock.now();
        let is_paused = |target| self.register.get(target).is_some_and(|state| state.pause_at(now).is_some());
        let wanted = new.into_iter().filter_map(|sleeper| Some((sleeper, *settings.get(&sleeper.target)?)));
        for (sleeper, settings) in wanted.filter(|(it, _)| !is_paused(&it.target)).take(AT_ONCE) {
            if still_sleeps(client, sleeper).await {
                self.publish_ahead(sleeper, settings).await;
            }
        }
    }

    async fn publish_ahead(&self, sleeper: &Sleeper, settings: &Settings) {
        let job = Job::on_demand(&self.fleet, &sleeper.target, settings, None);
        let span = PublishSpan::new(&job, QUEUE);
        let envelope = Envelope {
            leases_seen: self.seen.of_target(&self.fleet, &sleeper.target),
            ..Envelope::first(self.clock.now(), telemetry::carrier_of(span.span()))
        };
        let id = job.id;
        let message = JobMessage { job, envelope, queue: QUEUE };
        let published = self.publisher.publish_jobs([message], PATIENCE).await.into_iter().next();
        match published.unwrap_or(Ok(())) {
            Ok(()) => {
                self.metrics.count_published(QUEUE.as_str(), 1);
                self.sleeping.note_published(&sleeper.snapshot);
                tracing::warn!(
                    target.name = %sleeper.target, job.id = %id, snapshot = sleeper.snapshot,
                    "the promoted prebuild sleeps in Daytona, and nothing wakes it: its target is built anew, ahead of the queue"
                );
            }
            Err(error) => {
                span.record_error(&error);
                tracing::warn!(
                    target.name = %sleeper.target, error = error_chain::line(&error),
                    "no job for a target whose prebuild sleeps; the next look tries again"
                );
            }
        }
    }
}

/// Lists may be stale, and a build is dear.
async fn still_sleeps(client: &Client, sleeper: &Sleeper) -> bool {
    match client.get_snapshot(&sleeper.snapshot).await {
        Ok(found) => found.is_some_and(|snapshot| snapshot.state == SnapshotState::Inactive),
        Err(error) => {
            tracing::debug!(error = error_chain::line(&error), "a sleeping prebuild could not be looked up");
            false
        }
    }
}

fn find_sleepers<'a>(
    snapshots: &[Snapshot],
    states: impl Iterator<Item = &'a Arc<TargetState>>,
) -> Vec<Sleeper> {
    let inactive: HashMap<&str, &Snapshot> = snapshots
        .iter()
        .filter(|snapshot| snapshot.state == SnapshotState::Inactive)
        .map(|snapshot| (snapshot.id.as_str(), snapshot))
        .collect();
    let sleeper = |state: &Arc<TargetState>| {
        let promoted = state.promoted.as_ref()?;
        let found = inactive.get(promoted.snapshot_id.as_str())?;
        Some(Sleeper { target: state.target.clone(), snapshot: found.id.to_string() })
    };
    states.filter_map(sleeper).collect()
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use job::PrebuildRecord;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_promoted_sleeper_is_asked_for_once() {
        let prebuild = |name: &str| {
            let target: Target = format!("o/{name}@main").parse().unwrap();
            let record = PrebuildRecord::example_of(&"demo".parse().unwrap(), &target);
            (target, record)
        };
        let ([(one, asleep), (two, awake)], (_, kept)) =
            ([prebuild("one"), prebuild("two")], prebuild("one"));
        let row = |record: &PrebuildRecord, state: &str| -> Snapshot {
            let row = json!({ "id": record.snapshot_id, "name": record.name.to_string(), "state": state });
            serde_json::from_value(row).unwrap()
        };
        let snapshots = [row(&asleep, "inactive"), row(&awake, "active"), row(&kept, "inactive")];
        let state = |target: &Target, promoted: &PrebuildRecord, kept: Vec<PrebuildRecord>| {
            let new = TargetState::new(target.clone(), Utc::now());
            Arc::new(TargetState { promoted: Some(promoted.clone()), kept, ..new })
        };
        let states = [state(&one, &asleep, Vec::new()), state(&two, &awake, vec![kept])];
        let found = find_sleepers(&snapshots, states.iter());
        assert_eq!(found, [Sleeper { target: one, snapshot: asleep.snapshot_id.clone() }]);

        let known = SleepingPrebuilds::default();
        let all: Vec<&Sleeper> = found.iter().collect();
        assert_eq!(known.replace(&all).len(), 1);
        assert_eq!(known.replace(&all).len(), 1, "it was not published");
        known.note_published(&asleep.snapshot_id);
        assert_eq!((known.replace(&all).len(), known.contains(&asleep.snapshot_id)), (0, true));
        known.replace(&[]);
        assert!(!known.contains(&asleep.snapshot_id));
        assert_eq!(known.replace(&all).len(), 1, "it fell asleep again");
    }
}
