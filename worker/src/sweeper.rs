//! Removes what dead workers left: sandboxes of this fleet whose beat stands still. Nothing else is ever touched.
//!
//! The list may be stale, so every decision is taken on a GET by id; and it takes several looks, a beat apart, with Daytona
//! answering at each.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::Utc;
use daytona::{Client, Sandbox, SandboxId};
use job::{FleetName, LeaseSeen};
use lease::{
    DELETE_DEADLINE, GIVE_UP_DEADLINE, LeaseSection, Owner, Sighting, fleet_label, is_dead, is_stuck, observe,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lease::KnownSandboxes;
use crate::metrics::Instruments;

/// Looks every so often until the worker leaves, and once per beat while a sandbox shows no sign of life.
pub(crate) async fn run(
    client: Client,
    fleet: FleetName,
    section: LeaseSection,
    known: KnownSandboxes,
    metrics: Instruments,
    leaving: CancellationToken,
) {
    let mut sweeper =
        Sweeper { client, fleet, section, known, metrics, seen: HashMap::new(), alerted: HashSet::new() };
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = leaving.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        sweeper.sweep().await;
        pause = if sweeper.has_silent() { section.beat } else { section.sweep };
    }
}

struct Sweeper {
    client: Client,
    fleet: FleetName,
    section: LeaseSection,
    known: KnownSandboxes,
    metrics: Instruments,
    seen: HashMap<SandboxId, LeaseSeen>,
    /// The sandboxes that stick, of which it was said.
    alerted: HashSet<SandboxId>,
}

impl Sweeper {
    async fn sweep(&mut self) {
        let listed = match self.client.list_sandboxes(&fleet_label(&self.fleet)).await {
            Ok(listed) => listed,
            Err(error) => {
                // Nobody's beat could be seen meanwhile, so no silence from before counts.
                self.seen.clear();
                self.known.replace_seen(HashMap::new());
                tracing::warn!(
                    error = error_chain::line(&error),
                    "sandboxes not listed; nothing swept this time"
                );
                return;
            }
        };
        // What was seen of one before it was held here says nothing of it afterwards.
        let left = |id: &SandboxId| listed.iter().any(|sandbox| sandbox.id == *id) && !self.known.is_held(id);
        self.seen.retain(|id, _| left(id));
        for sandbox in listed.iter().filter(|sandbox| !self.known.is_held(&sandbox.id)) {
            let Some(mut seen) = self.observe(sandbox, self.section.beat) else { continue };
            if is_dead(&seen, self.section.stale)
                && let Err(error) = self.confirm_and_remove(&sandbox.id, &seen).await
            {
                tracing::warn!(sandbox.id = %sandbox.id, error, "sandbox not confirmed or not deleted; left for the next time");
                seen.silent_ms = 0;
            }
            self.seen.insert(sandbox.id.clone(), seen);
        }
        self.known.replace_seen(self.seen.clone());
        self.alert_of_stuck(&listed);
    }

    /// Says once of each sandbox that it sticks, and always how many do.
    fn alert_of_stuck(&mut self, listed: &[Sandbox]) {
        let stuck = |sandbox: &&Sandbox| {
            self.seen.get(&sandbox.id).is_some_and(|seen| is_stuck(seen, self.section.stuck))
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

    /// The sign of life it shows, when it is this fleet's, and how long it was the same. Looks are a beat apart at the least.
    fn observe(&self, sandbox: &Sandbox, apart: Duration) -> Option<LeaseSeen> {
        match Owner::of(sandbox, &self.fleet) {
            Owner::Ours(holder) => {
                let pending = sandbox.state.is_pending();
                let sighting = Sighting { sandbox: sandbox.id.as_str(), sign: &holder.sign, pending };
                Some(observe(sighting, self.seen.get(&sandbox.id), apart, Utc::now()))
            }
            Owner::Foreign => None,
        }
    }

    /// The list may be stale: whether it is to go is decided on what its own id answers.
    async fn confirm_and_remove(&self, id: &SandboxId, seen: &LeaseSeen) -> Result<(), String> {
        let sandbox =
            self.client.get_sandbox(id.as_str()).await.map_err(|error| error_chain::line(&error))?;
        let Some(sandbox) = sandbox else { return Ok(()) };
        let still = self.observe(&sandbox, Duration::ZERO).is_some_and(|now| now.sign == seen.sign);
        if !still || sandbox.state.is_pending() || self.known.is_held(id) {
            return Ok(());
        }
        // The others wait for it, and what sticks is tried again anyway.
        let deadline = if is_stuck(seen, self.section.stuck) { GIVE_UP_DEADLINE } else { DELETE_DEADLINE };
        let deleted = self.client.delete_and_confirm(id, Instant::now() + deadline).await;
        deleted.map_err(|error| error_chain::line(&error))?;
        self.metrics.count_swept();
        tracing::info!(sandbox.id = %id, sandbox.name = sandbox.name, "swept a sandbox whose holder stopped beating");
        Ok(())
    }
}
