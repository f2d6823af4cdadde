//! Removes what dead workers left: sandboxes of this fleet whose beat stands still. Nothing else is ever touched.
//!
//! The list may be stale, so every decision is taken on a GET by id; and it takes several looks, a beat apart, with Daytona
//! answering at each.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;
use daytona::{Client, Sandbox, SandboxId};
use job::{FleetName, LeaseSeen};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lease::{DELETE_DEADLINE, HeldSandboxes, LeaseSection, Owner, fleet_label, is_dead, observe};
use crate::metrics::Instruments;

/// Looks every so often until the worker leaves, and once per beat while a sandbox shows no sign of life.
pub(crate) async fn run(
    client: Client,
    fleet: FleetName,
    section: LeaseSection,
    held: HeldSandboxes,
    metrics: Instruments,
    leaving: CancellationToken,
) {
    let mut sweeper = Sweeper { client, fleet, section, held, metrics, seen: HashMap::new() };
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
    held: HeldSandboxes,
    metrics: Instruments,
    seen: HashMap<SandboxId, LeaseSeen>,
}

impl Sweeper {
    async fn sweep(&mut self) {
        let listed = match self.client.list_sandboxes(&fleet_label(&self.fleet)).await {
            Ok(listed) => listed,
            Err(error) => {
                // Nobody's beat could be seen meanwhile, so no silence from before counts.
                self.seen.clear();
                tracing::warn!(
                    error = error_chain::line(&error),
                    "sandboxes not listed; nothing swept this time"
                );
                return;
            }
        };
        self.seen.retain(|id, _| listed.iter().any(|sandbox| sandbox.id == *id));
        for sandbox in listed.iter().filter(|sandbox| !self.held.contains(&sandbox.id)) {
            let Some(mut seen) = self.observe(sandbox, self.section.beat) else { continue };
            if is_dead(&seen, self.section.stale)
                && let Err(error) = self.confirm_and_remove(&sandbox.id, &seen).await
            {
                tracing::warn!(sandbox.id = %sandbox.id, error, "sandbox not confirmed or not deleted; left for the next time");
                seen.silent_ms = 0;
            }
            self.seen.insert(sandbox.id.clone(), seen);
        }
    }

    /// Whether a holder showed the same sign twice.
    fn has_silent(&self) -> bool {
        self.seen.values().any(|seen| seen.silent_ms > 0)
    }

    /// The sign of life it shows, when it is this fleet's, and how long it was the same. Looks are a beat apart at the least.
    fn observe(&self, sandbox: &Sandbox, apart: Duration) -> Option<LeaseSeen> {
        match Owner::of(sandbox, &self.fleet) {
            Owner::Ours(holder) => {
                Some(observe(sandbox, &holder.sign, self.seen.get(&sandbox.id), apart, Utc::now()))
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
        if !still || sandbox.state.is_pending() || self.held.contains(id) {
            return Ok(());
        }
        let deleted = self.client.delete_and_confirm(id, Instant::now() + DELETE_DEADLINE).await;
        deleted.map_err(|error| error_chain::line(&error))?;
        self.metrics.count_swept();
        tracing::info!(sandbox.id = %id, sandbox.name = sandbox.name, "swept a sandbox whose holder stopped beating");
        Ok(())
    }
}
