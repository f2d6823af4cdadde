//! The promoted prebuilds that Daytona has put to sleep. Nothing starts from one, and nothing wakes it: activating a captured
//! snapshot ends in `error`, for good. So its target is built anew, ahead of what the schedule has queued, and said to be stale.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{JobMessage, PublishSpan, WorkQueue};
use chrono::{DateTime, Utc};
use daytona::{Client, Snapshot, SnapshotState};
use job::{Envelope, Job, OutcomeWord, Settings, Target, TargetState};

use super::Keeper;

/// Taken before the schedule's own jobs.
const QUEUE: WorkQueue = WorkQueue::OnDemand;
/// Jobs of one look, fewer by what waits already; the rest waits for the next, so that what people ask for is not held up for long.
const AT_ONCE: u32 = 50;
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
    /// again, where nobody has got to it since: whoever takes the second finds the target taken, or built.
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
        let is_wanted =
            |target| self.register.get(target).is_none_or(|state| may_help(&state, listed.every, now));
        if new.is_empty() {
            return;
        }
        let room = self.room_ahead().await;
        let wanted = new.into_iter().filter_map(|sleeper| Some((sleeper, *settings.get(&sleeper.target)?)));
        for (sleeper, settings) in wanted.filter(|(it, _)| is_wanted(&it.target)).take(room) {
            if still_sleeps(client, sleeper).await {
                self.publish_ahead(sleeper, settings).await;
            }
        }
    }

    /// How many jobs may go ahead now. Of those that nobody has come to yet, a keeper that fired a tick and left may have published some.
    async fn room_ahead(&self) -> usize {
        match self.broker.queue_depths().await {
            Ok(depths) => usize::try_from(AT_ONCE.saturating_sub(depths.on_demand)).unwrap_or_default(),
            Err(error) => {
                let error = error_chain::line(&error);
                tracing::warn!(error, "no jobs for targets whose prebuilds sleep; the next look tries again");
                0
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

/// Whether a job ahead of the queue may bring the target a prebuild. What was just tried in vain is left to the schedule: a keeper that
/// fires one tick and leaves remembers nothing of what the one before it published.
fn may_help(state: &TargetState, every: Duration, now: DateTime<Utc>) -> bool {
    let is_recent = |at: DateTime<Utc>| (now - at).to_std().unwrap_or_default() < every;
    let tried = state.last.as_ref().is_some_and(|last| is_in_vain(last.outcome) && is_recent(last.at));
    state.pause_at(now).is_none() && state.failing.is_none() && !tried
}

/// Whether an attempt that ended so got nowhere. What was good when it was looked at has fallen asleep since.
fn is_in_vain(outcome: OutcomeWord) -> bool {
    match outcome {
        OutcomeWord::Built | OutcomeWord::Partial | OutcomeWord::Unchanged => false,
        OutcomeWord::Failed
        | OutcomeWord::OverQuota
        | OutcomeWord::StillFailing
        | OutcomeWord::Superseded
        | OutcomeWord::Busy
        | OutcomeWord::Cancelled
        | OutcomeWord::Paused
        | OutcomeWord::Interrupted
        | OutcomeWord::LeaseLost => true,
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
    use chrono::TimeDelta;
    use job::{
        AttemptId, Failure, FailureKind, Fingerprint, JobId, LastAttempt, PrebuildRecord, StandingFailure,
    };
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

    #[test]
    fn a_sleeper_that_was_just_tried_or_stands_is_not_asked_for() {
        let (now, every) = (Utc::now(), Duration::from_hours(1));
        let new = TargetState::new("o/one@main".parse().unwrap(), now);
        assert!(may_help(&new, every, now));
        let tried = |outcome, minutes| {
            let last = LastAttempt {
                job: JobId::on_demand(),
                attempt: AttemptId::new(),
                number: 1,
                outcome,
                failure: None,
                commit: None,
                at: now - TimeDelta::minutes(minutes),
                milliseconds: 7,
                trace_id: None,
            };
            may_help(&TargetState { last: Some(last), ..new.clone() }, every, now)
        };
        let failed = [-1, 0, 59, 61].map(|minutes| tried(OutcomeWord::Failed, minutes));
        assert_eq!(failed, [false, false, false, true]);
        assert!(tried(OutcomeWord::Unchanged, 1), "it has fallen asleep since");
        let standing = StandingFailure {
            failure: Failure::new(FailureKind::Internal, "it stands"),
            commit: None,
            fingerprint: Fingerprint::from_hex(&"9".repeat(64)).unwrap(),
            secrets: None,
            since: now,
            count: 3,
        };
        assert!(!may_help(&TargetState { failing: Some(standing), ..new }, every, now));
    }
}
