//! Asking for the lease of a target: create its sandbox under the first of its names that does not stick, or judge whoever has it.

use std::time::Duration;

use daytona::{Client, CreateOutcome, DeleteError, NewSandbox, Retry, Sandbox, pace};
use job::{Failure, FailureKind, JobId, LeaseSeen, Outcome, SandboxName, Stage};
use lease::{DELETE_DEADLINE, Labels, LeaseSection, since_message_looked};
use tokio::time::Instant;

use super::names::{Found, Names, Place};
use super::rules::{Occupant, Step, became_holder, next_step};
use super::{HeldSandboxes, Lease, remove};
use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::{from_call, from_delete, from_start};

/// How often a create that met a name just taken or just freed is asked again.
const CREATE_ROUNDS: u32 = 6;

/// What asking for the lease came to.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The sandbox is this attempt's, and it has started.
    Held(Box<Lease>),
    /// Another attempt has it, and lives.
    Busy { holder_job: Option<JobId>, seen: Vec<LeaseSeen> },
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
        let labels = labels_of(attempt);
        let names = self.names(attempt);
        let apart = since_message_looked(&attempt.envelope, self.busy_delay);
        let mut undeletable = Vec::new();
        for _ in 0..CREATE_ROUNDS {
            let mut found = names.find_occupants(&labels, &attempt.envelope.leases_seen, apart).await?;
            for other in found.iter_mut().filter(|other| other.is_one_of(&undeletable)) {
                other.occupant = Occupant::Stuck;
            }
            let occupants: Vec<Occupant> = found.iter().map(|found| found.occupant).collect();
            match next_step(&occupants) {
                Step::Create(number) => {
                    let place = names.place(number, &found);
                    let spec = sandbox_spec(&place.name, snapshot, self.limits, &labels);
                    if let Some(sandbox) = self.create(&spec, &labels).await? {
                        return self.hold_if_alone(sandbox, labels, place).await;
                    }
                }
                Step::Adopt(number) => {
                    let place = names.place(number, &found);
                    if let Some(sandbox) = found.swap_remove(number).sandbox {
                        return self.hold_if_alone(sandbox, labels, place).await;
                    }
                }
                Step::Remove(number) => {
                    let dead = &found[number];
                    if !self.remove_dead(dead).await? {
                        if !dead.is_stuck {
                            return Ok(busy(&found, number));
                        }
                        undeletable.extend(dead.id());
                    }
                }
                Step::Wait(number) => return Ok(busy(&found, number)),
                Step::Refuse(number) => return Err(name_taken(&names.all[number]).into()),
            }
        }
        Err(Failure::new(
            FailureKind::ProvisionFailed,
            format!("the sandbox name {} was taken and given up again {CREATE_ROUNDS} times", names.all[0]),
        )
        .into())
    }

    fn names(&self, attempt: &Attempt) -> Names {
        Names {
            client: self.client.clone(),
            section: self.section,
            held: self.held.clone(),
            fleet: attempt.job.fleet.clone(),
            all: attempt.sandbox_name().all_of_target(),
        }
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

    /// Deletes the sandbox of a dead holder; false when Daytona does not let go of it.
    async fn remove_dead(&self, dead: &Found) -> Result<bool, EarlyEnd> {
        let Some(id) = dead.id() else { return Ok(true) };
        tracing::warn!(sandbox.id = %id, holder.job = ?dead.job, "lease taken over: its holder stopped beating");
        match self.client.delete_and_confirm(&id, Instant::now() + DELETE_DEADLINE).await {
            Ok(()) => Ok(true),
            Err(DeleteError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(from_delete(&error, Stage::Provision)),
        }
    }

    /// Holds the lease if nobody took it under another name meanwhile; else gives the sandbox up again.
    async fn hold_if_alone(
        &self,
        sandbox: Sandbox,
        labels: Labels,
        place: Place,
    ) -> Result<Acquired, EarlyEnd> {
        let lease = self.start_beating(sandbox, labels, place);
        match find_rival(&lease).await {
            Ok(None) => Ok(Acquired::Held(Box::new(self.wait_until_started(lease).await?))),
            Ok(Some(busy)) => {
                lease.release().await;
                Ok(busy)
            }
            Err(end) => {
                lease.release().await;
                Err(end)
            }
        }
    }

    fn start_beating(&self, sandbox: Sandbox, labels: Labels, place: Place) -> Lease {
        Lease::start_beating(self.client.clone(), sandbox, labels, place, self.section.beat, &self.held)
    }

    /// The lease is kept alive while the sandbox starts, and from then on.
    async fn wait_until_started(&self, lease: Lease) -> Result<Lease, EarlyEnd> {
        let deadline = Instant::now() + self.limits.start_timeout;
        let started = self
            .client
            .wait_until_started(&lease.sandbox.id, deadline, self.client.settings().state_pace)
            .await;
        match started {
            Ok(sandbox) => Ok(Lease { sandbox, ..lease }),
            Err(error) => {
                let end = from_start(&error, FailureKind::ProvisionFailed, Stage::Provision);
                lease.give_up().await;
                Err(end)
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
                "a failed sandbox is left to the keeper"
            ),
        }
    }

    /// Starts the attempt's next sandbox, from `snapshot` and in the place of the one before, and measures how long it takes to be usable.
    pub(crate) async fn start_measured(
        &self,
        attempt: &Attempt,
        snapshot: &str,
        place: Place,
    ) -> Result<(Lease, Duration), EarlyEnd> {
        let labels = labels_of(attempt);
        let spec = sandbox_spec(&place.name, snapshot, self.limits, &labels);
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
        match self.hold_if_alone(sandbox, labels.clone(), place).await? {
            Acquired::Held(lease) => Ok((*lease, cold_start.unwrap_or_else(|| began.elapsed()))),
            Acquired::Busy { .. } => Err(Outcome::LeaseLost.into()),
        }
    }
}

/// The labels of the attempt's own sandbox, before its first beat.
fn labels_of(attempt: &Attempt) -> Labels {
    Labels {
        fleet: attempt.job.fleet.clone(),
        target: attempt.job.target.clone(),
        job: attempt.job.id,
        attempt: attempt.id,
        holder: attempt.worker.clone(),
        generation: 1,
        beat: 0,
    }
}

/// Busy, if somebody stands under another name of the target than the lease just taken and was not passed over.
async fn find_rival(lease: &Lease) -> Result<Option<Acquired>, EarlyEnd> {
    let others = lease.place.look_at_others().await;
    let others = others.map_err(|error| from_call(&error, Stage::Provision))?;
    let signs: Vec<_> = others.iter().filter_map(Found::id_and_sign).collect();
    let alone = became_holder(&signs, &lease.place.passed);
    Ok((!alone).then(|| busy(&others, 0)))
}

/// Busy because of the one at this place; what was seen of all of them goes to whoever comes next.
fn busy(found: &[Found], number: usize) -> Acquired {
    let holder_job = found.get(number).and_then(|other| other.job);
    Acquired::Busy { holder_job, seen: found.iter().filter_map(|other| other.seen.clone()).collect() }
}

fn name_taken(name: &SandboxName) -> Failure {
    Failure::new(
        FailureKind::ProvisionNameTaken,
        format!("a sandbox named {name} exists and is not this fleet's: rename it or delete it in Daytona"),
    )
}

/// The sandbox a target's build is given: everything that makes it die by itself, and the labels that say whose it is.
fn sandbox_spec(name: &SandboxName, snapshot: &str, limits: SandboxLimits, labels: &Labels) -> NewSandbox {
    NewSandbox {
        auto_stop: limits.auto_stop,
        ttl: limits.ttl,
        // As long as its start is waited for: it is destroyed rather than taken by a runner when nobody waits any more.
        queue: limits.start_timeout,
        labels: labels.to_map(),
        ..NewSandbox::new(name.as_str(), snapshot)
    }
}
