//! Removes what dead workers left: sandboxes of this fleet whose beat stands still. Nothing else is ever touched.
//!
//! The list may be stale, so every decision is taken on a GET by id; and it takes several looks, a beat apart, with Daytona
//! answering at each. What was seen goes to the jobs that this process publishes, too.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use daytona::{Client, Sandbox, SandboxId};
use futures::StreamExt as _;
use job::{FleetName, LeaseSeen};
use lease::{
    DELETE_DEADLINE, GIVE_UP_DEADLINE, LeaseSection, Owner, Sighting, fleet_label, is_dead, is_stuck, observe,
};
use tokio::time::Instant;

use super::{Keeper, SeenSandboxes};
use crate::{Clock, ProducerMetrics};

/// Deletions under way at once: each may take as long as Daytona refuses it, and the others do not wait for it.
const DELETIONS: usize = 8;

impl Keeper {
    /// Looks every so often, and once per beat while a sandbox shows no sign of life.
    pub(super) async fn sweep(&self) {
        let Some(client) = &self.client else { return std::future::pending().await };
        let mut sweeper = Sweeper {
            client,
            fleet: &self.fleet,
            lease: self.lease,
            clock: &self.clock,
            metrics: &self.metrics,
            shared: &self.seen,
            seen: HashMap::new(),
            alerted: HashSet::new(),
        };
        let mut pause = Duration::ZERO;
        loop {
            sweeper.sweep(pause).await;
            pause = if sweeper.has_silent() { self.lease.beat } else { self.section.sweep };
            // Between two looks time has to go by: that a sign stood still over it is the evidence. Dropped with the lock.
            tokio::time::sleep(pause).await;
        }
    }
}

struct Sweeper<'a> {
    client: &'a Client,
    fleet: &'a FleetName,
    lease: LeaseSection,
    clock: &'a Clock,
    metrics: &'a ProducerMetrics,
    shared: &'a SeenSandboxes,
    seen: HashMap<SandboxId, LeaseSeen>,
    /// The sandboxes that stick, of which it was said.
    alerted: HashSet<SandboxId>,
}

impl Sweeper<'_> {
    /// Looks at all of them, so long after the look before.
    async fn sweep(&mut self, paused: Duration) {
        let listed = match self.client.list_sandboxes(&fleet_label(self.fleet)).await {
            Ok(listed) => listed,
            Err(error) => {
                // Nobody's beat could be seen meanwhile, so no silence from before counts.
                self.seen.clear();
                self.shared.replace(HashMap::new());
                tracing::warn!(
                    error = error_chain::line(&error),
                    "sandboxes not listed; nothing swept this time"
                );
                return;
            }
        };
        // Of a longer pause no more than a beat counts: not all of it need have been time in which one could have been raised.
        let apart = paused.min(self.lease.beat);
        let looked = |sandbox: &Sandbox| Some((sandbox.id.clone(), self.observe(sandbox, apart)?));
        self.seen = listed.iter().filter_map(looked).collect();
        // Before anything is deleted, which may take long: a job that is published meanwhile is given what is known by now.
        self.share(&listed);
        self.alert_of_stuck(&listed);
        self.remove_dead().await;
    }

    fn share(&self, listed: &[Sandbox]) {
        let named = |sandbox: &Sandbox| Some((sandbox.name.clone(), self.seen.get(&sandbox.id)?.clone()));
        self.shared.replace(listed.iter().filter_map(named).collect());
    }

    /// Says once of each sandbox that it sticks, and always how many do.
    fn alert_of_stuck(&mut self, listed: &[Sandbox]) {
        let stuck = |sandbox: &&Sandbox| {
            self.seen.get(&sandbox.id).is_some_and(|seen| is_stuck(seen, self.lease.stuck))
        };
        let stuck: Vec<&Sandbox> = listed.iter().filter(stuck).collect();
        self.metrics.record_stuck(stuck.len());
        for sandbox in &stuck {
            if self.alerted.insert(sandbox.id.clone()) {
                tracing::error!(
                    sandbox.id = %sandbox.id, sandbox.name = sandbox.name, state = %sandbox.state,
                    "a sandbox sticks: it shows no sign of life and can't be deleted; its target is built under its next name"
                );
            }
        }
        self.alerted.retain(|id| stuck.iter().any(|sandbox| sandbox.id == *id));
    }

    /// Whether a holder showed the same sign twice.
    fn has_silent(&self) -> bool {
        self.seen.values().any(|seen| seen.waited_ms > 0)
    }

    /// The sign of life it shows, when it is this fleet's, and how long it was the same. Looks are `apart` at the least.
    fn observe(&self, sandbox: &Sandbox, apart: Duration) -> Option<LeaseSeen> {
        match Owner::of(sandbox, self.fleet) {
            Owner::Ours(holder) => {
                let pending = sandbox.state.is_pending();
                let sighting = Sighting { sandbox: sandbox.id.as_str(), sign: &holder.sign, pending };
                Some(observe(sighting, self.seen.get(&sandbox.id), apart, self.clock.now()))
            }
            Owner::Foreign => None,
        }
    }

    async fn remove_dead(&mut self) {
        let dead = self.seen.iter().filter(|(_, seen)| is_dead(seen, self.lease.stale));
        let removals = dead.map(|(id, seen)| {
            let this = &*self;
            async move { (id.clone(), this.confirm_and_remove(id, seen).await) }
        });
        // Collected first: a stream of borrowed closures is not Send.
        let removals: Vec<_> = removals.collect();
        let ended: Vec<_> = futures::stream::iter(removals).buffer_unordered(DELETIONS).collect().await;
        for (id, removed) in ended {
            if let Err(error) = removed {
                tracing::warn!(sandbox.id = %id, error, "sandbox not confirmed or not deleted; left for the next time");
                if let Some(seen) = self.seen.get_mut(&id) {
                    seen.silent_ms = 0;
                }
            }
        }
    }

    /// The list may be stale: whether it is to go is decided on what its own id answers.
    async fn confirm_and_remove(&self, id: &SandboxId, seen: &LeaseSeen) -> Result<(), String> {
        let sandbox =
            self.client.get_sandbox(id.as_str()).await.map_err(|error| error_chain::line(&error))?;
        let Some(sandbox) = sandbox else { return Ok(()) };
        let still = self.observe(&sandbox, Duration::ZERO).is_some_and(|now| now.sign == seen.sign);
        if !still || sandbox.state.is_pending() {
            return Ok(());
        }
        // What sticks is tried again anyway.
        let deadline = if is_stuck(seen, self.lease.stuck) { GIVE_UP_DEADLINE } else { DELETE_DEADLINE };
        let deleted = self.client.delete_and_confirm(id, Instant::now() + deadline).await;
        deleted.map_err(|error| error_chain::line(&error))?;
        self.metrics.count_swept();
        tracing::info!(sandbox.id = %id, sandbox.name = sandbox.name, "swept a sandbox whose holder stopped beating");
        Ok(())
    }
}
