//! The lease: the right to build a target, held by owning the sandbox with that target's name.
//!
//! Daytona refuses a second sandbox of one name, so two attempts never build one target at once. The holder raises a
//! beat in the labels; a holder whose beat is seen to stand still for long enough is dead and is replaced.

mod acquire;
mod held;
mod labels;
mod life;

use std::time::Duration;

use daytona::{Client, Sandbox, SandboxId};
use job::{FleetName, Outcome, Stage};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

pub(crate) use self::acquire::{Acquired, Leases, SandboxLimits};
pub(crate) use self::held::HeldSandboxes;
use self::held::Hold;
use self::labels::Labels;
pub(crate) use self::labels::Owner;
pub(crate) use self::life::{is_dead, observe};
use crate::early_end::EarlyEnd;
use crate::failures::{from_call, from_restart};

/// How long a sandbox may take to go.
pub(crate) const DELETE_DEADLINE: Duration = Duration::from_mins(35);

/// How long a sandbox may take to stop and to start again.
const RESTART_DEADLINE: Duration = Duration::from_mins(10);

/// How long a stopped sandbox stays when the worker that stopped it dies before it starts it again.
const KEPT_WHILE_STOPPED: Duration = Duration::from_mins(30);

/// The section `[lease]` of the settings.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSection {
    /// How often the holder raises its beat.
    #[serde(with = "humantime_serde")]
    pub beat: Duration,
    /// How long a beat stands still before its holder is dead.
    #[serde(with = "humantime_serde")]
    pub stale: Duration,
    /// How often sandboxes that dead workers left are swept.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
}

/// A held lease. Dropped without [`Lease::release`] it stops beating, and the sweeper or the next attempt takes it.
#[derive(Debug)]
pub(crate) struct Lease {
    client: Client,
    sandbox: Sandbox,
    labels: Labels,
    lost: CancellationToken,
    beat_task: AbortOnDropHandle<()>,
    hold: Hold,
}

impl Lease {
    fn start_beating(
        client: Client,
        sandbox: Sandbox,
        labels: Labels,
        every: Duration,
        held: &HeldSandboxes,
    ) -> Self {
        let ours = held.hold(sandbox.id.clone());
        let lost = CancellationToken::new();
        let beats = beat(client.clone(), sandbox.id.clone(), labels.clone(), every, lost.clone());
        // Two calls every half minute, for as long as a build takes: a trace is no place for them.
        let span = tracing::info_span!("lease");
        let kept = telemetry::keep_unexported(&span);
        tracing::trace!(?kept, "the beats of a lease are in no trace");
        let beat_task =
            AbortOnDropHandle::new(tokio::spawn(beats.instrument(span).with_current_subscriber()));
        Self { client, sandbox, labels, lost, beat_task, hold: ours }
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Cancelled as soon as it is known that the sandbox is another's or gone.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Reads the labels again: still ours?
    pub(crate) async fn confirm(&self, stage: Stage) -> Result<(), EarlyEnd> {
        match self.client.get_sandbox(self.sandbox.id.as_str()).await {
            Ok(Some(sandbox)) if self.labels.same_attempt(&sandbox.labels) => Ok(()),
            Ok(Some(_) | None) => {
                self.lost.cancel();
                Err(Outcome::LeaseLost.into())
            }
            Err(error) => Err(from_call(&error, stage)),
        }
    }

    /// Ends everything that runs in the sandbox, whatever mark, session or user it hides behind: stops it and starts it again.
    pub(crate) async fn restart(&self, stage: Stage) -> Result<(), EarlyEnd> {
        let deadline = Instant::now() + RESTART_DEADLINE;
        let restarted = self.client.restart_sandbox(&self.sandbox.id, KEPT_WHILE_STOPPED, deadline).await;
        restarted.map(drop).map_err(|error| from_restart(&error, stage))
    }

    /// Deletes the sandbox, which frees the name at once. What can't be deleted now dies by itself, or the sweeper takes it.
    pub(crate) async fn release(self) {
        drop(self.beat_task);
        if !self.lost.is_cancelled() {
            remove(&self.client, &self.sandbox.id).await;
        }
        drop(self.hold);
    }
}

async fn remove(client: &Client, id: &SandboxId) {
    if let Err(error) = client.delete_and_confirm(id, Instant::now() + DELETE_DEADLINE).await {
        tracing::warn!(sandbox.id = %id, error = error_chain::line(&error), "sandbox not deleted; left to its own limits and the sweeper");
    }
}

/// Raises the beat for as long as the labels are ours. An unreachable Daytona is no reason to give up the lease.
async fn beat(client: Client, id: SandboxId, mut labels: Labels, every: Duration, lost: CancellationToken) {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match client.get_sandbox(id.as_str()).await {
            Ok(Some(sandbox)) if labels.same_attempt(&sandbox.labels) => {
                if sandbox.state.is_going() {
                    continue;
                }
                labels.beat += 1;
                if let Err(error) = client.replace_labels(&id, &labels.to_map()).await {
                    tracing::debug!(sandbox.id = %id, error = error_chain::line(&error), "beat not raised");
                }
            }
            Ok(Some(_) | None) => {
                lost.cancel();
                return;
            }
            Err(error) => {
                tracing::debug!(sandbox.id = %id, error = error_chain::line(&error), "lease not seen");
            }
        }
    }
}

/// The labels every sandbox of a fleet carries.
pub(crate) fn fleet_label(fleet: &FleetName) -> std::collections::BTreeMap<String, String> {
    [(labels::FLEET.to_owned(), fleet.to_string())].into()
}

#[cfg(test)]
mod tests;
