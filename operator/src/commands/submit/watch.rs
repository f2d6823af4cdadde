//! The waiting of `submit --wait`: what it listens to, and where it prints.
//!
//! The ledger is read on through lost connections, so no end is missed; what the ledger lost, the register has.

use std::time::Duration;

use broker::{Broker, BrokerStatus, Ledger, Register};
use chrono::Utc;
use lifecycle::Shutdown;
use tokio::time::Instant;

use super::view::{Notice, SubmittedView};
use super::watched_jobs::{Progress, Step, WatchedJobs};
use crate::error::{CommandError, Exit};
use crate::output::Output;
use crate::time::length;

/// How often the register is asked for ends that the ledger lost.
const REGISTER_INTERVAL: Duration = Duration::from_secs(2);

/// Watches jobs until each has ended, or nobody waits any longer.
pub(super) struct Watch<'a, 'terminal> {
    broker: &'a Broker,
    register: Register,
    ledger: Ledger,
    deadline: Option<(Instant, Duration)>,
    output: &'a mut Output<'terminal>,
}

impl<'a, 'terminal> Watch<'a, 'terminal> {
    /// The time until `timeout` begins now.
    pub(super) fn new(
        broker: &'a Broker,
        ledger: Ledger,
        timeout: Option<Duration>,
        output: &'a mut Output<'terminal>,
    ) -> Self {
        let deadline = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        Self { broker, register: Register::follow(broker), ledger, deadline, output }
    }

    /// Prints what was submitted, and answers the jobs to wait for.
    pub(super) fn begin(&mut self, submitted: Vec<SubmittedView>) -> Result<WatchedJobs, CommandError> {
        let mut jobs = WatchedJobs::new(submitted.iter().map(|job| (job.job, job.target.clone())));
        for job in submitted {
            if job.error.is_some() {
                jobs.mark_unpublished(job.job);
            }
            self.output.print_line(&Notice::Submitted { at: Utc::now(), job })?;
        }
        Ok(jobs)
    }

    /// Prints what happens until every job has ended, the deadline has passed or a person interrupts. The jobs go on.
    pub(super) async fn run(
        &mut self,
        mut jobs: WatchedJobs,
        shutdown: &Shutdown,
    ) -> Result<Exit, CommandError> {
        let mut status = self.broker.status();
        let mut connected = true;
        let mut register_checks = tokio::time::interval(REGISTER_INTERVAL);
        while !jobs.have_all_ended() {
            let deadline = self.deadline.map(|(at, _)| at);
            tokio::select! {
                entry = self.ledger.next() => {
                    let Some(entry) = entry else { break };
                    self.print(jobs.read_entry(&entry))?;
                }
                _ = register_checks.tick() => self.print(self.check_register(&mut jobs))?,
                changed = status.changed() => {
                    if changed.is_err() { break }
                    let now = status.borrow_and_update().clone();
                    connected = self.print_status(&now, connected)?;
                }
                () = shutdown.draining().cancelled() => {
                    self.output.print_note("not waiting any longer; the jobs go on (harvestctl status shows them)")?;
                    break;
                }
                () = sleep_until(deadline) => {
                    let waited = self.deadline.map(|(_, waited)| length(waited)).unwrap_or_default();
                    self.output.print_note(format!("gave up waiting after {waited}; the jobs go on (harvestctl status shows them)"))?;
                    break;
                }
            }
        }
        let summary = jobs.summarise();
        let exit = if summary.is_success() { Exit::Done } else { Exit::Failed };
        self.output.print_line(&Notice::Summary(summary))?;
        Ok(exit)
    }

    fn check_register(&self, jobs: &mut WatchedJobs) -> Vec<Progress> {
        let open = jobs.list_open();
        let states = open.iter().filter_map(|target| self.register.get(target));
        states.flat_map(|state| jobs.read_state(&state)).collect()
    }

    fn print(&mut self, progress: Vec<Progress>) -> Result<(), CommandError> {
        for step in progress {
            if self.output.has_every_step() || !matches!(step.step, Step::Stage { .. }) {
                self.output.print_line(&step)?;
            }
        }
        Ok(())
    }

    /// Prints that the connection was lost, or is back. Answers whether there is one.
    fn print_status(&mut self, now: &BrokerStatus, connected: bool) -> Result<bool, CommandError> {
        match now {
            BrokerStatus::Disconnected { error, .. } if connected => {
                self.output.print_note(format!(
                    "lost RabbitMQ ({error}); the jobs go on, what happens is told once it is back"
                ))?;
                Ok(false)
            }
            BrokerStatus::Connected | BrokerStatus::Blocked { .. } if !connected => {
                self.output.print_note("RabbitMQ is back")?;
                Ok(true)
            }
            BrokerStatus::Connected | BrokerStatus::Blocked { .. } | BrokerStatus::Disconnected { .. } => {
                Ok(connected)
            }
        }
    }
}

/// Sleeps for ever without a deadline.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
