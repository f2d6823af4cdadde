//! The lease: the right to build a target, held by owning the sandbox with that target's name.
//!
//! Daytona refuses a second sandbox of one name, so two attempts never build one target at once. The holder raises a
//! beat in the labels; a holder whose beat stands still for long enough, at two looks, is dead and is replaced.

mod labels;

use std::time::Duration;

use chrono::{DateTime, Utc};
use daytona::{Client, CreateOutcome, NewSandbox, Retry, Sandbox, SandboxId, pace};
use job::{Failure, FailureKind, FleetName, JobId, LeaseSeen, Outcome, SandboxName, Stage};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

pub(crate) use labels::{Labels, Owner};

use crate::early_end::EarlyEnd;
use crate::failures::{from_call, from_delete, from_start};

/// How often a create that met a name just freed is asked again.
const CREATE_ROUNDS: u32 = 4;

/// How long a sandbox may take to go.
pub(crate) const DELETE_DEADLINE: Duration = Duration::from_mins(35);

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

/// What a look for the lease found.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// It is ours.
    Held(Box<Lease>),
    /// Another attempt has it.
    Busy { holder_job: Option<JobId>, seen: LeaseSeen },
}

/// A held lease. Dropped without [`Lease::release`] it stops beating, and the sweeper or the next attempt takes it.
#[derive(Debug)]
pub(crate) struct Lease {
    client: Client,
    sandbox: Sandbox,
    labels: Labels,
    lost: CancellationToken,
    heart: AbortOnDropHandle<()>,
}

/// Asks for leases.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    pub(crate) client: Client,
    pub(crate) section: LeaseSection,
    /// How long a sandbox may take to start.
    pub(crate) start_timeout: Duration,
}

impl Leases {
    /// Creates the target's sandbox, or says who has it. `seen` is what an earlier attempt saw of the holder.
    pub(crate) async fn acquire(
        &self,
        wish: &NewSandbox,
        labels: &Labels,
        seen: Option<&LeaseSeen>,
    ) -> Result<Acquired, EarlyEnd> {
        for _ in 0..CREATE_ROUNDS {
            if let Some(sandbox) = self.create(wish, labels).await? {
                return Ok(Acquired::Held(Box::new(self.started(sandbox, labels.clone()).await?)));
            }
            let Some(holder) = self.look(&wish.name).await? else { continue };
            match self.judge(holder, labels, seen).await? {
                Judged::Ours(sandbox) => {
                    return Ok(Acquired::Held(Box::new(self.started(*sandbox, labels.clone()).await?)));
                }
                Judged::Alive { holder_job, seen } => return Ok(Acquired::Busy { holder_job, seen }),
                Judged::Removed => {}
            }
        }
        Err(Failure::new(
            FailureKind::ProvisionFailed,
            format!("the sandbox name {} was taken and given up again {CREATE_ROUNDS} times", wish.name),
        )
        .into())
    }

    /// One create: ours, or none when the name is taken.
    async fn create(&self, wish: &NewSandbox, labels: &Labels) -> Result<Option<Sandbox>, EarlyEnd> {
        let mut wish = wish.clone();
        wish.labels = labels.to_map();
        match self.client.create_sandbox(&wish).await {
            Ok(CreateOutcome::Created(sandbox)) => Ok(Some(*sandbox)),
            Ok(CreateOutcome::NameTaken) => Ok(None),
            Ok(CreateOutcome::FailedToStart { reason }) => {
                self.remove_ours(&wish.name, labels).await;
                Err(Failure::new(
                    FailureKind::ProvisionFailed,
                    format!("the sandbox failed to start: {reason}"),
                )
                .into())
            }
            // The answer is lost; the labels of whatever has the name now tell whose it is.
            Err(error) if error.retry() == Retry::ReadFirst => match self.look(&wish.name).await? {
                Some(sandbox) if labels.same_attempt(&sandbox.labels) => Ok(Some(sandbox)),
                Some(_) => Ok(None),
                None => Err(from_call(&error, Stage::Provision)),
            },
            Err(error) => Err(from_call(&error, Stage::Provision)),
        }
    }

    async fn look(&self, name: &str) -> Result<Option<Sandbox>, EarlyEnd> {
        self.client.get_sandbox(name).await.map_err(|error| from_call(&error, Stage::Provision))
    }

    async fn judge(
        &self,
        holder: Sandbox,
        labels: &Labels,
        seen: Option<&LeaseSeen>,
    ) -> Result<Judged, EarlyEnd> {
        if labels.same_attempt(&holder.labels) {
            return Ok(Judged::Ours(Box::new(holder)));
        }
        let owner = match Owner::of(&holder, &labels.fleet) {
            Owner::Ours(owner) => owner,
            Owner::Foreign => {
                return Err(Failure::new(
                    FailureKind::ProvisionNameTaken,
                    format!("a sandbox named {} exists and is not this fleet's: rename it or delete it in Daytona", holder.name),
                )
                .into());
            }
        };
        let seen_now = first_seen(&holder, &owner.sign, seen, Utc::now());
        if is_dead(&holder, &seen_now, self.section.stale, Utc::now()) {
            tracing::warn!(sandbox.id = %holder.id, holder.job = ?owner.job, "lease taken over: its holder stopped beating");
            let deadline = Instant::now() + DELETE_DEADLINE;
            self.client
                .delete_and_confirm(&holder.id, deadline)
                .await
                .map_err(|error| from_delete(&error, Stage::Provision))?;
            return Ok(Judged::Removed);
        }
        Ok(Judged::Alive { holder_job: owner.job, seen: seen_now })
    }

    async fn started(&self, sandbox: Sandbox, labels: Labels) -> Result<Lease, EarlyEnd> {
        let lease = Lease::beating(self.client.clone(), sandbox, labels, self.section.beat);
        let deadline = Instant::now() + self.start_timeout;
        let started = self
            .client
            .wait_until_started(&lease.sandbox.id, deadline, self.client.settings().state_pace)
            .await;
        match started {
            Ok(sandbox) => Ok(Lease { sandbox, ..lease }),
            Err(error) => {
                let ended = from_start(&error, FailureKind::ProvisionFailed, Stage::Provision);
                lease.release().await;
                Err(ended)
            }
        }
    }

    async fn remove_ours(&self, name: &str, labels: &Labels) {
        match self.client.get_sandbox(name).await {
            Ok(Some(sandbox)) if labels.same_attempt(&sandbox.labels) => {
                remove(&self.client, &sandbox.id, DELETE_DEADLINE).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(
                sandbox.name = name,
                error = error_chain::line(&error),
                "a failed sandbox is left to the sweeper"
            ),
        }
    }

    /// Starts the next sandbox under the same name and attempt, and measures how long it takes to be usable.
    pub(crate) async fn start_measured(
        &self,
        wish: &NewSandbox,
        labels: &Labels,
    ) -> Result<(Lease, Duration), EarlyEnd> {
        let began = Instant::now();
        let created = async {
            match self.create(wish, labels).await? {
                Some(sandbox) => Ok::<_, EarlyEnd>(sandbox),
                None => Err(Outcome::LeaseLost.into()),
            }
        };
        let usable = async {
            let mut pause = tokio::time::interval(pace::COLD_START.first().max(Duration::from_millis(10)));
            loop {
                pause.tick().await;
                if let Ok(Some(sandbox)) = self.client.get_sandbox(&wish.name).await
                    && sandbox.state == daytona::SandboxState::Started
                    && labels.same_attempt(&sandbox.labels)
                {
                    return began.elapsed();
                }
            }
        };
        // The answer to POST can come long after the sandbox is usable: look beside it.
        let mut cold_start = None;
        let sandbox = {
            tokio::pin!(created, usable);
            loop {
                tokio::select! {
                    created = &mut created => break created?,
                    elapsed = &mut usable, if cold_start.is_none() => cold_start = Some(elapsed),
                }
            }
        };
        let lease = self.started(sandbox, labels.clone()).await?;
        Ok((lease, cold_start.unwrap_or_else(|| began.elapsed())))
    }
}

enum Judged {
    Ours(Box<Sandbox>),
    Alive { holder_job: Option<JobId>, seen: LeaseSeen },
    Removed,
}

/// The first time this sign of life was seen: now, unless an earlier look saw the same.
pub(crate) fn first_seen(
    sandbox: &Sandbox,
    sign: &str,
    seen: Option<&LeaseSeen>,
    now: DateTime<Utc>,
) -> LeaseSeen {
    match seen {
        Some(seen) if seen.sandbox == sandbox.id.as_str() && seen.sign == sign => seen.clone(),
        Some(_) | None => LeaseSeen { sandbox: sandbox.id.to_string(), sign: sign.to_owned(), since: now },
    }
}

/// Dead is who showed the same sign at two looks far enough apart, while nothing is under way that would explain it.
pub(crate) fn is_dead(sandbox: &Sandbox, seen: &LeaseSeen, stale: Duration, now: DateTime<Utc>) -> bool {
    let silent = (now - seen.since).to_std().unwrap_or(Duration::ZERO);
    !sandbox.state.is_pending() && silent >= stale
}

impl Lease {
    fn beating(client: Client, sandbox: Sandbox, labels: Labels, every: Duration) -> Self {
        let lost = CancellationToken::new();
        let heart = beat(client.clone(), sandbox.id.clone(), labels.clone(), every, lost.clone());
        // Two calls every half minute, for as long as a build takes: a trace is no place for them.
        let span = tracing::info_span!("lease");
        let kept = telemetry::keep_unexported(&span);
        tracing::trace!(?kept, "the beats of a lease are in no trace");
        let heart = AbortOnDropHandle::new(tokio::spawn(heart.instrument(span).with_current_subscriber()));
        Self { client, sandbox, labels, lost, heart }
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

    /// Deletes the sandbox, which frees the name at once. What can't be deleted now dies by itself, or the sweeper takes it.
    pub(crate) async fn release(self) {
        drop(self.heart);
        if !self.lost.is_cancelled() {
            remove(&self.client, &self.sandbox.id, DELETE_DEADLINE).await;
        }
    }
}

async fn remove(client: &Client, id: &SandboxId, within: Duration) {
    if let Err(error) = client.delete_and_confirm(id, Instant::now() + within).await {
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

/// The sandbox a target's build is given: everything that makes it die by itself.
pub(crate) fn wish(name: &SandboxName, snapshot: &str, idle: Duration, ttl: Duration) -> NewSandbox {
    NewSandbox { auto_stop: idle, ttl, ..NewSandbox::new(name.as_str(), snapshot) }
}

/// The labels every sandbox of a fleet carries.
pub(crate) fn fleet_label(fleet: &FleetName) -> std::collections::BTreeMap<String, String> {
    [(labels::FLEET.to_owned(), fleet.to_string())].into()
}

#[cfg(test)]
mod tests;
