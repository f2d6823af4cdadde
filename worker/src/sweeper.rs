//! Removes what dead workers left: sandboxes of this fleet whose beat stands still. Nothing else is ever touched.
//!
//! The list may be stale, so every decision is taken on a GET by id; and it takes two looks, far enough apart.

use std::collections::HashMap;

use chrono::Utc;
use daytona::{Client, Sandbox, SandboxId};
use job::{FleetName, LeaseSeen};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::lease::{DELETE_DEADLINE, LeaseSection, Owner, first_seen, fleet_label, is_dead};
use crate::metrics::Instruments;

/// Looks every so often until the worker leaves.
pub(crate) async fn run(
    client: Client,
    fleet: FleetName,
    section: LeaseSection,
    metrics: Instruments,
    leaving: CancellationToken,
) {
    let mut sweeper = Sweeper { client, fleet, section, metrics, seen: HashMap::new() };
    let mut ticks = tokio::time::interval(section.sweep);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = leaving.cancelled() => return,
            _ = ticks.tick() => sweeper.sweep().await,
        }
    }
}

struct Sweeper {
    client: Client,
    fleet: FleetName,
    section: LeaseSection,
    metrics: Instruments,
    seen: HashMap<SandboxId, LeaseSeen>,
}

impl Sweeper {
    async fn sweep(&mut self) {
        let listed = match self.client.list_sandboxes(&fleet_label(&self.fleet)).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(
                    error = error_chain::line(&error),
                    "sandboxes not listed; nothing swept this time"
                );
                return;
            }
        };
        self.seen.retain(|id, _| listed.iter().any(|sandbox| sandbox.id == *id));
        for sandbox in &listed {
            let Some(seen) = self.judge(sandbox) else { continue };
            if is_dead(sandbox, &seen, self.section.stale, Utc::now()) {
                self.confirm_and_remove(&sandbox.id, &seen).await;
            }
            self.seen.insert(sandbox.id.clone(), seen);
        }
    }

    /// The sign of life it shows, when it is this fleet's, and since when.
    fn judge(&self, sandbox: &Sandbox) -> Option<LeaseSeen> {
        match Owner::of(sandbox, &self.fleet) {
            Owner::Ours(holder) => {
                Some(first_seen(sandbox, &holder.sign, self.seen.get(&sandbox.id), Utc::now()))
            }
            Owner::Foreign => None,
        }
    }

    async fn confirm_and_remove(&self, id: &SandboxId, seen: &LeaseSeen) {
        let sandbox = match self.client.get_sandbox(id.as_str()).await {
            Ok(Some(sandbox)) => sandbox,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(sandbox.id = %id, error = error_chain::line(&error), "sandbox not confirmed; not swept this time");
                return;
            }
        };
        let still = self.judge(&sandbox).is_some_and(|now| now.sign == seen.sign);
        if !still || !is_dead(&sandbox, seen, self.section.stale, Utc::now()) {
            return;
        }
        match self.client.delete_and_confirm(id, Instant::now() + DELETE_DEADLINE).await {
            Ok(()) => {
                self.metrics.count_swept();
                tracing::info!(sandbox.id = %id, sandbox.name = sandbox.name, "swept a sandbox whose holder stopped beating");
            }
            Err(error) => {
                tracing::warn!(sandbox.id = %id, error = error_chain::line(&error), "dead holder's sandbox not deleted yet");
            }
        }
    }
}
