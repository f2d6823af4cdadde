//! The lease: the right to build a target, held by owning the sandbox with that target's name.
//!
//! Daytona refuses a second sandbox of one name, so two attempts never build one target at once. The holder raises a
//! beat in the labels; a holder whose beat is seen to stand still for long enough is dead and is replaced. A name whose sandbox
//! sticks, so that nothing can delete it, is waited for so long and no longer: then the lease is the target's next name.

mod acquire;
mod held;
#[cfg(test)]
mod model;
mod names;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use daytona::{Client, Sandbox, SandboxId};
use job::{Outcome, Stage};
use lease::{DELETE_DEADLINE, GIVE_UP_DEADLINE, Labels};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

pub(crate) use self::acquire::{Acquired, Leases, SandboxLimits};
pub(crate) use self::held::HeldSandboxes;
use self::held::Hold;
use self::names::Found;
pub(crate) use self::names::Place;
use self::rules::may_go_on;
use crate::early_end::EarlyEnd;
use crate::failures::{from_call, from_restart};

/// How long a sandbox may take to stop and to start again.
const RESTART_DEADLINE: Duration = Duration::from_mins(10);

/// How long a stopped sandbox stays when the worker that stopped it dies before it starts it again.
const KEPT_WHILE_STOPPED: Duration = Duration::from_mins(30);

/// How long one at rest stays beyond what its capture may take: the snapshot is looked for once more, and then it is deleted.
const KEPT_AFTER_CAPTURE: Duration = Duration::from_mins(10);

/// A held lease. Dropped without [`Lease::release`] it stops beating, and the keeper or the next attempt takes it.
#[derive(Debug)]
pub(crate) struct Lease {
    client: Client,
    sandbox: Sandbox,
    labels: Arc<Mutex<Labels>>,
    place: Place,
    lost: CancellationToken,
    beat_task: AbortOnDropHandle<()>,
    hold: Hold,
}

impl Lease {
    fn start_beating(
        client: Client,
        sandbox: Sandbox,
        labels: Labels,
        place: Place,
        every: Duration,
        held: &HeldSandboxes,
    ) -> Self {
        let ours = held.hold(sandbox.id.clone());
        let lost = CancellationToken::new();
        let labels = Arc::new(Mutex::new(labels));
        let beats = beat(client.clone(), sandbox.id.clone(), Arc::clone(&labels), every, lost.clone());
        // Two calls every half minute, for as long as a build takes: a trace is no place for them.
        let span = tracing::info_span!("lease");
        let kept = telemetry::keep_unexported(&span);
        tracing::trace!(?kept, "the beats of a lease are in no trace");
        let beat_task =
            AbortOnDropHandle::new(tokio::spawn(beats.instrument(span).with_current_subscriber()));
        Self { client, sandbox, labels, place, lost, beat_task, hold: ours }
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Cancelled as soon as it is known that the sandbox is another's or gone.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Where the lease stands among the target's names, for the sandbox that comes after this one.
    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Reads the labels again, and looks at the target's other names: still ours?
    pub(crate) async fn confirm(&self, stage: Stage) -> Result<(), EarlyEnd> {
        // Five calls before each stage: a trace is no place for them. What goes wrong is the attempt's end, which it does tell.
        let span = tracing::info_span!("lease");
        let kept = telemetry::keep_unexported(&span);
        tracing::trace!(?kept, "the looks at a lease are in no trace");
        match self.is_still_held().instrument(span).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.lost.cancel();
                Err(Outcome::LeaseLost.into())
            }
            Err(error) => Err(from_call(&error, stage)),
        }
    }

    async fn is_still_held(&self) -> Result<bool, daytona::Error> {
        let id = &self.sandbox.id;
        if !raise_beat(&self.client, id, &self.labels).await? {
            return Ok(false);
        }
        // Only after the beat: whoever passes this sandbox over from here on sees it at the look after its create.
        let others = self.place.look_at_others().await?;
        let others: Vec<SandboxId> = others.iter().filter_map(Found::id).collect();
        if !may_go_on(&others, &self.place.passed) {
            return Ok(false);
        }
        // Last of all, so that nothing lies between this look and what it allows.
        let own = self.client.get_sandbox(id.as_str()).await?;
        let labels = self.labels.lock().await;
        Ok(own.is_some_and(|own| labels.same_attempt(&own.labels)))
    }

    /// Ends everything that runs in the sandbox, whatever mark, session or user it hides behind: stops it and starts it again.
    pub(crate) async fn restart(&self, stage: Stage) -> Result<(), EarlyEnd> {
        let deadline = Instant::now() + RESTART_DEADLINE;
        let restarted = self.client.restart_sandbox(&self.sandbox.id, KEPT_WHILE_STOPPED, deadline).await;
        restarted.map(drop).map_err(|error| from_restart(&error, stage))
    }

    /// Brings the sandbox to what its class is captured in: a virtual machine's disk is captured only at rest. It stays so for as long
    /// as the capture may take.
    pub(crate) async fn prepare_for_capture(&self, stage: Stage, capture: Duration) -> Result<(), EarlyEnd> {
        if !self.sandbox.class.rests_for_capture() {
            return Ok(());
        }
        let deadline = Instant::now() + RESTART_DEADLINE;
        let rested = self.client.rest_sandbox(&self.sandbox.id, kept_at_rest(capture), deadline).await;
        rested.map(drop).map_err(|error| from_restart(&error, stage))
    }

    /// Deletes the sandbox, which frees the name at once. What can't be deleted now dies by itself, or the keeper sweeps it.
    pub(crate) async fn release(self) {
        self.release_within(DELETE_DEADLINE).await;
    }

    /// The same for a sandbox that did not start in time.
    async fn give_up(self) {
        self.release_within(GIVE_UP_DEADLINE).await;
    }

    async fn release_within(self, deadline: Duration) {
        drop(self.beat_task);
        if !self.lost.is_cancelled() {
            remove(&self.client, &self.sandbox.id, deadline).await;
        }
        drop(self.hold);
    }
}

/// How long a sandbox at rest stays, should the worker die; Daytona deletes it then, and with it what is being captured of it.
fn kept_at_rest(capture: Duration) -> Duration {
    capture.saturating_add(KEPT_AFTER_CAPTURE)
}

async fn remove(client: &Client, id: &SandboxId, deadline: Duration) {
    if let Err(error) = client.delete_and_confirm(id, Instant::now() + deadline).await {
        tracing::warn!(sandbox.id = %id, error = error_chain::line(&error), "sandbox not deleted; left to its own limits and the keeper");
    }
}

/// Raises the beat for as long as the labels are ours. An unreachable Daytona is no reason to give up the lease.
async fn beat(
    client: Client,
    id: SandboxId,
    labels: Arc<Mutex<Labels>>,
    every: Duration,
    lost: CancellationToken,
) {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match raise_beat(&client, &id, &labels).await {
            Ok(true) => {}
            Ok(false) => {
                lost.cancel();
                return;
            }
            Err(error) => {
                tracing::debug!(sandbox.id = %id, error = error_chain::line(&error), "beat not raised");
            }
        }
    }
}

/// One beat, where the labels are still ours; false where they are another's, or the sandbox is gone.
async fn raise_beat(client: &Client, id: &SandboxId, labels: &Mutex<Labels>) -> Result<bool, daytona::Error> {
    // Held over both calls, so that no beat overtakes a later one.
    let mut labels = labels.lock().await;
    let sandbox = client.get_sandbox(id.as_str()).await?;
    let Some(sandbox) = sandbox.filter(|sandbox| labels.same_attempt(&sandbox.labels)) else {
        return Ok(false);
    };
    if !sandbox.state.is_going() {
        labels.beat += 1;
        client.replace_labels(id, &labels.to_map()).await?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
