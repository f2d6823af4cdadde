//! Asking for the lease of a target: create its sandbox, or judge whoever has it.

use std::time::Duration;

use chrono::Utc;
use daytona::{Client, CreateOutcome, NewSandbox, Retry, Sandbox, pace};
use job::{Failure, FailureKind, JobId, LeaseSeen, Outcome, SandboxName, Stage};
use tokio::time::Instant;

use super::labels::{Labels, Owner};
use super::life::{is_dead, observe};
use super::{DELETE_DEADLINE, HeldSandboxes, Lease, LeaseSection, remove};
use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::{from_call, from_delete, from_start};

/// How often a create that met a name just freed is asked again.
const CREATE_ROUNDS: u32 = 4;

/// What asking for the lease came to.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The sandbox is this attempt's, and it has started.
    Held(Box<Lease>),
    /// Another attempt has it, and lives.
    Busy { holder_job: Option<JobId>, seen: LeaseSeen },
}

/// How long a sandbox may start, idle and live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SandboxLimits {
    pub(crate) start_timeout: Duration,
    /// Idle for this long it stops itself, which deletes it.
    pub(crate) auto_stop: Duration,
    pub(crate) ttl: Duration,
}

/// Takes leases, by creating sandboxes.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    pub(crate) client: Client,
    pub(crate) section: LeaseSection,
    pub(crate) limits: SandboxLimits,
    pub(crate) held: HeldSandboxes,
    /// How long, at the least, a job that met another's lease waits before it looks again.
    pub(crate) busy_delay: Duration,
}

impl Leases {
    /// Creates the sandbox of the attempt's target from `snapshot`, or says who has it.
    pub(crate) async fn acquire(&self, attempt: &Attempt, snapshot: &str) -> Result<Acquired, EarlyEnd> {
        let labels = Labels::of(attempt);
        let spec = sandbox_spec(&attempt.sandbox_name(), snapshot, self.limits, &labels);
        for _ in 0..CREATE_ROUNDS {
            if let Some(sandbox) = self.create(&spec, &labels).await? {
                return Ok(Acquired::Held(Box::new(self.hold(sandbox, labels).await?)));
            }
            let Some(holder) = self.read(&spec.name).await? else { continue };
            match self.judge(holder, &labels, attempt.envelope.lease_seen.as_ref()).await? {
                Judgement::Ours(sandbox) => {
                    return Ok(Acquired::Held(Box::new(self.hold(*sandbox, labels).await?)));
                }
                Judgement::Alive { holder_job, seen } => return Ok(Acquired::Busy { holder_job, seen }),
                Judgement::Removed => {}
            }
        }
        Err(Failure::new(
            FailureKind::ProvisionFailed,
            format!("the sandbox name {} was taken and given up again {CREATE_ROUNDS} times", spec.name),
        )
        .into())
    }

    /// One create: ours, or none when the name is taken.
    async fn create(&self, spec: &NewSandbox, labels: &Labels) -> Result<Option<Sandbox>, EarlyEnd> {
        match self.client.create_sandbox(spec).await {
            Ok(CreateOutcome::Created(sandbox)) => Ok(Some(*sandbox)),
            Ok(CreateOutcome::NameTaken) => Ok(None),
            Ok(CreateOutcome::FailedToStart { reason }) => {
                self.remove_ours(&spec.name, labels).await;
                Err(Failure::new(
                    FailureKind::ProvisionFailed,
                    format!("the sandbox failed to start: {reason}"),
                )
                .into())
            }
            // The answer is lost; the labels of whatever has the name now tell whose it is.
            Err(error) if error.retry() == Retry::ReadFirst => match self.read(&spec.name).await? {
                Some(sandbox) if labels.same_attempt(&sandbox.labels) => Ok(Some(sandbox)),
                Some(_) => Ok(None),
                None => Err(from_call(&error, Stage::Provision)),
            },
            Err(error) => Err(from_call(&error, Stage::Provision)),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<Sandbox>, EarlyEnd> {
        self.client.get_sandbox(name).await.map_err(|error| from_call(&error, Stage::Provision))
    }

    /// Whose the sandbox with the target's name is. A dead holder's is deleted. `seen` is what an earlier attempt saw of it.
    async fn judge(
        &self,
        holder: Sandbox,
        labels: &Labels,
        seen: Option<&LeaseSeen>,
    ) -> Result<Judgement, EarlyEnd> {
        if labels.same_attempt(&holder.labels) {
            return Ok(Judgement::Ours(Box::new(holder)));
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
        let seen_now = observe(&holder, &owner.sign, seen, self.busy_delay, Utc::now());
        if !self.held.contains(&holder.id) && is_dead(&seen_now, self.section.stale) {
            tracing::warn!(sandbox.id = %holder.id, holder.job = ?owner.job, "lease taken over: its holder stopped beating");
            let deadline = Instant::now() + DELETE_DEADLINE;
            self.client
                .delete_and_confirm(&holder.id, deadline)
                .await
                .map_err(|error| from_delete(&error, Stage::Provision))?;
            return Ok(Judgement::Removed);
        }
        Ok(Judgement::Alive { holder_job: owner.job, seen: seen_now })
    }

    /// Keeps the lease alive while the sandbox starts, and from then on.
    async fn hold(&self, sandbox: Sandbox, labels: Labels) -> Result<Lease, EarlyEnd> {
        let lease = Lease::start_beating(self.client.clone(), sandbox, labels, self.section.beat, &self.held);
        let deadline = Instant::now() + self.limits.start_timeout;
        let started = self
            .client
            .wait_until_started(&lease.sandbox.id, deadline, self.client.settings().state_pace)
            .await;
        match started {
            Ok(sandbox) => Ok(Lease { sandbox, ..lease }),
            Err(error) => {
                let end = from_start(&error, FailureKind::ProvisionFailed, Stage::Provision);
                lease.release().await;
                Err(end)
            }
        }
    }

    async fn remove_ours(&self, name: &str, labels: &Labels) {
        match self.client.get_sandbox(name).await {
            Ok(Some(sandbox)) if labels.same_attempt(&sandbox.labels) => {
                remove(&self.client, &sandbox.id).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(
                sandbox.name = name,
                error = error_chain::line(&error),
                "a failed sandbox is left to the sweeper"
            ),
        }
    }

    /// Starts the attempt's next sandbox, from `snapshot` and under the same name, and measures how long it takes to be usable.
    pub(crate) async fn start_measured(
        &self,
        attempt: &Attempt,
        snapshot: &str,
    ) -> Result<(Lease, Duration), EarlyEnd> {
        let labels = Labels::of(attempt);
        let spec = sandbox_spec(&attempt.sandbox_name(), snapshot, self.limits, &labels);
        let began = Instant::now();
        let created = async {
            match self.create(&spec, &labels).await? {
                Some(sandbox) => Ok::<_, EarlyEnd>(sandbox),
                None => Err(Outcome::LeaseLost.into()),
            }
        };
        let usable = async {
            let mut pause = tokio::time::interval(pace::COLD_START.first().max(Duration::from_millis(10)));
            loop {
                pause.tick().await;
                if let Ok(Some(sandbox)) = self.client.get_sandbox(&spec.name).await
                    && sandbox.state == daytona::SandboxState::Started
                    && labels.same_attempt(&sandbox.labels)
                {
                    return began.elapsed();
                }
            }
        };
        // The answer to POST can come long after the sandbox is usable: poll beside it.
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
        let lease = self.hold(sandbox, labels.clone()).await?;
        Ok((lease, cold_start.unwrap_or_else(|| began.elapsed())))
    }
}

/// What became of whoever has the name.
enum Judgement {
    Ours(Box<Sandbox>),
    Alive { holder_job: Option<JobId>, seen: LeaseSeen },
    Removed,
}

/// The sandbox a target's build is given: everything that makes it die by itself, and the labels that say whose it is.
fn sandbox_spec(name: &SandboxName, snapshot: &str, limits: SandboxLimits, labels: &Labels) -> NewSandbox {
    NewSandbox {
        auto_stop: limits.auto_stop,
        ttl: limits.ttl,
        labels: labels.to_map(),
        ..NewSandbox::new(name.as_str(), snapshot)
    }
}
