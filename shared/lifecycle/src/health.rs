//! What the process says of itself. *Alive*: its own loops still beat; nothing outside the process counts, or a
//! broker outage would restart the whole fleet. *Ready*: every named condition holds and no drain was asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Collects heartbeats and readiness conditions. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    conditions: BTreeMap<Cow<'static, str>, ConditionReport>,
    heartbeats: BTreeMap<Cow<'static, str>, Beat>,
}

#[derive(Debug)]
struct Beat {
    last: Instant,
    bound: Duration,
}

/// Whether a condition of readiness holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// The condition holds; no reason is needed.
    Ready,
    /// It does not; the reason says why.
    NotReady,
}

/// One condition as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ConditionReport {
    pub(crate) state: Readiness,
    pub(crate) reason: Cow<'static, str>,
}

/// One heartbeat as `/healthz` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HeartbeatReport {
    pub(crate) state: Pulse,
    pub(crate) age_seconds: u64,
    pub(crate) bound_seconds: u64,
}

/// Whether a loop beat within its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pulse {
    Beating,
    Stalled,
}

/// The right to state one named condition.
#[derive(Debug, Clone)]
pub struct Condition {
    health: Health,
    name: Cow<'static, str>,
}

/// One loop's sign of life. Dropping it ends the duty to beat: a loop that ended is the task group's matter.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    name: Cow<'static, str>,
}

impl Health {
    /// No conditions, no heartbeats: alive and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a condition, not ready until it is said to be. The same name is the same condition.
    pub fn condition(&self, name: impl Into<Cow<'static, str>>) -> Condition {
        let name = name.into();
        self.lock()
            .conditions
            .entry(name.clone())
            .or_insert(ConditionReport { state: Readiness::NotReady, reason: "starting".into() });
        Condition { health: self.clone(), name }
    }

    /// Registers a loop that promises to beat at least every `bound`; the first beat counts from now.
    pub fn heartbeat(&self, name: impl Into<Cow<'static, str>>, bound: Duration) -> Heartbeat {
        let name = name.into();
        self.lock().heartbeats.insert(name.clone(), Beat { last: Instant::now(), bound });
        Heartbeat { health: self.clone(), name }
    }

    /// Whether every condition holds (a drain is the endpoint's to add).
    pub fn readiness(&self) -> Readiness {
        let all = self.lock().conditions.values().all(|condition| condition.state == Readiness::Ready);
        if all { Readiness::Ready } else { Readiness::NotReady }
    }

    pub(crate) fn conditions(&self) -> BTreeMap<Cow<'static, str>, ConditionReport> {
        self.lock().conditions.clone()
    }

    pub(crate) fn heartbeats(&self) -> BTreeMap<Cow<'static, str>, HeartbeatReport> {
        self.lock().heartbeats.iter().map(|(name, beat)| (name.clone(), beat.report())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section is one map operation: a poisoned lock still guards a whole map.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    fn report(&self) -> HeartbeatReport {
        let age = self.last.elapsed();
        HeartbeatReport {
            state: if age > self.bound { Pulse::Stalled } else { Pulse::Beating },
            age_seconds: age.as_secs(),
            bound_seconds: self.bound.as_secs(),
        }
    }
}

impl Condition {
    /// States the condition, with a reason a person on call understands ("connected", "connection refused").
    pub fn set(&self, state: Readiness, reason: impl Into<Cow<'static, str>>) {
        let report = ConditionReport { state, reason: reason.into() };
        self.health.lock().conditions.insert(self.name.clone(), report);
    }
}

impl Heartbeat {
    /// Shows that the loop still turns; its bound begins anew.
    pub fn beat(&self) {
        if let Some(beat) = self.health.lock().heartbeats.get_mut(&self.name) {
            beat.last = Instant::now();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.lock().heartbeats.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_holds() {
        let health = Health::new();
        assert_eq!(health.readiness(), Readiness::Ready);
        let amqp = health.condition("amqp");
        let daytona = health.condition("daytona");
        assert_eq!(health.readiness(), Readiness::NotReady);
        amqp.set(Readiness::Ready, "connected");
        assert_eq!(health.readiness(), Readiness::NotReady);
        daytona.set(Readiness::Ready, "answers");
        assert_eq!(health.readiness(), Readiness::Ready);
        health.condition("amqp").set(Readiness::NotReady, "connection reset");
        assert_eq!(health.readiness(), Readiness::NotReady);
        assert_eq!(health.conditions()["amqp"].reason, "connection reset");
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_stalls_past_its_bound_and_recovers() {
        let health = Health::new();
        let heartbeat = health.heartbeat("consume", Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(health.heartbeats()["consume"].state, Pulse::Beating);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(health.heartbeats()["consume"].state, Pulse::Stalled);
        heartbeat.beat();
        assert_eq!(health.heartbeats()["consume"].state, Pulse::Beating);
        drop(heartbeat);
        assert!(health.heartbeats().is_empty());
    }
}
