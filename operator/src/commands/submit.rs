//! `harvestctl submit`: on-demand jobs, and with `--wait` their story until each has ended.
//!
//! The ledger is followed from before the first publish and read on through lost connections, so no end is missed; what
//! the ledger lost, the register tells.

mod lines;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Broker, BrokerStatus, JobMessage, Ledger, PublishSpan, ReadFrom, Register, WorkQueue};
use chrono::Utc;
use daytona::BaseIds;
use job::{Envelope, Job, JobId, LedgerEntry, LedgerEvent, Target};
use lifecycle::Shutdown;
use tokio::time::Instant;

use crate::bases::look_up_bases;
use crate::cli::Submit;
use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::targets::{Listed, choose};
use crate::terminal::{Format, Reader, Terminal};
use crate::time::length;
use lines::{Notice, SubmitView, SubmittedView};
use waiting::{Progress, Step, Waiting};

/// Where jobs go that somebody asked for.
const QUEUE: WorkQueue = WorkQueue::OnDemand;
/// How long publishing may take in all, reconnecting included.
const PATIENCE: Duration = Duration::from_mins(1);
/// Clocks differ: the ledger is read from a little earlier.
const SKEW: Duration = Duration::from_mins(1);
/// How often the register is asked for ends that the ledger lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    parts: &Parts,
    wanted: &Submit,
    terminal: &mut Terminal,
    format: Format,
    shutdown: &Shutdown,
) -> Result<Exit, CommandError> {
    let load = parts.fleet_file()?;
    for problem in &load.problems {
        terminal.say(format!("left out: {problem}"))?;
    }
    let problems = load.problems.iter().map(ToString::to_string).collect();
    let chosen: Vec<&Listed> = if wanted.all {
        load.targets.iter().collect()
    } else {
        choose(&load, &wanted.targets).map_err(|unknown| CommandError::NotFound(unknown.to_string()))?
    };
    if chosen.is_empty() {
        return Err(CommandError::usage("fleet.toml lists no target: add [[repository]] entries"));
    }
    let broker = parts.broker().await?;
    let since = Utc::now() - SKEW;
    let ledger = wanted.wait.then(|| Ledger::follow(&broker, ReadFrom::Time(since)));
    let names = chosen.iter().map(|(_, settings)| settings.base_snapshot.as_str());
    let bases = look_up_bases(parts, names, terminal).await?;
    let messages = chosen.into_iter().map(|listed| message(parts, listed, &bases, wanted)).collect();
    let submitted = publish(parts, &broker, messages).await;
    let all_published = submitted.iter().all(|job| job.error.is_none());
    let exit = match ledger {
        None => {
            terminal.show(&SubmitView { submitted, problems }, format)?;
            if all_published { Exit::Done } else { Exit::Failed }
        }
        Some(ledger) => {
            let mut story = Wait::new(&broker, ledger, &submitted, wanted.timeout, terminal, format);
            let jobs = story.begin(submitted)?;
            story.run(jobs, shutdown).await?
        }
    };
    broker.close().await;
    Ok(exit)
}

async fn publish(
    parts: &Parts,
    broker: &Broker,
    messages: Vec<(JobMessage, PublishSpan)>,
) -> Vec<SubmittedView> {
    let publisher = broker.publisher();
    let results = publisher.publish_jobs(messages.iter().map(|(message, _)| message.clone()), PATIENCE).await;
    let mut submitted = Vec::with_capacity(messages.len());
    let mut telling = true;
    for ((message, span), result) in messages.into_iter().zip(results) {
        if let Err(error) = &result {
            span.record_error(error);
        }
        let error = result.err().map(|error| error_chain::line(&error));
        let trace_id = telemetry::trace_id_of(&message.envelope.trace);
        let (target, job) = (message.job.target, message.job.id);
        if error.is_none() {
            let event = LedgerEvent::operator_act("submit", target.clone(), job);
            let entry = LedgerEntry::new(Utc::now(), &parts.operator, event).in_trace(trace_id.clone());
            if telling && let Err(error) = publisher.publish_ledger(&entry).await {
                tracing::warn!(
                    error = error_chain::line(&error),
                    "the ledger does not know who submitted this"
                );
                // One wait for a broker that blocks is enough.
                telling = false;
            }
        }
        submitted.push(SubmittedView { target, job, trace_id, error });
    }
    submitted
}

/// The job and the root span of its trace, which ends once it is confirmed.
fn message(
    parts: &Parts,
    (target, settings): &Listed,
    bases: &BaseIds,
    wanted: &Submit,
) -> (JobMessage, PublishSpan) {
    let base_snapshot_id = bases.id_of(&settings.base_snapshot).map(ToString::to_string);
    let job = Job {
        forced: wanted.force,
        ..Job::on_demand(&parts.settings.fleet, target, settings, base_snapshot_id)
    };
    let span = PublishSpan::new(&job, QUEUE);
    let envelope = Envelope::first(Utc::now(), telemetry::carrier_of(span.span()));
    (JobMessage { job, envelope, queue: QUEUE }, span)
}

/// The waiting: what it listens to, and where it tells.
struct Wait<'a> {
    register: Register,
    broker: &'a Broker,
    ledger: Ledger,
    targets: BTreeMap<JobId, Target>,
    deadline: Option<(Instant, Duration)>,
    terminal: &'a mut Terminal,
    format: Format,
}

impl<'a> Wait<'a> {
    fn new(
        broker: &'a Broker,
        ledger: Ledger,
        submitted: &[SubmittedView],
        timeout: Option<Duration>,
        terminal: &'a mut Terminal,
        format: Format,
    ) -> Self {
        Self {
            register: Register::follow(broker),
            broker,
            ledger,
            targets: submitted.iter().map(|job| (job.job, job.target.clone())).collect(),
            deadline: timeout.map(|timeout| (Instant::now() + timeout, timeout)),
            terminal,
            format,
        }
    }

    /// Says what was submitted.
    fn begin(&mut self, submitted: Vec<SubmittedView>) -> Result<Waiting, CommandError> {
        let mut waiting = Waiting::new(std::mem::take(&mut self.targets));
        for job in submitted {
            if job.error.is_some() {
                waiting.never_began(job.job);
            }
            self.terminal.show_line(&Notice::Submitted { at: Utc::now(), job }, self.format)?;
        }
        Ok(waiting)
    }

    async fn run(&mut self, mut waiting: Waiting, shutdown: &Shutdown) -> Result<Exit, CommandError> {
        let mut status = self.broker.status();
        let mut connected = true;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !waiting.is_over() {
            let deadline = self.deadline.map(|(at, _)| at);
            tokio::select! {
                entry = self.ledger.next() => {
                    let Some(entry) = entry else { break };
                    self.tell(waiting.hear(&entry))?;
                }
                _ = looks.tick() => self.tell(self.look(&mut waiting))?,
                changed = status.changed() => {
                    if changed.is_err() { break }
                    let now = status.borrow_and_update().clone();
                    connected = self.tell_status(&now, connected)?;
                }
                () = shutdown.draining().cancelled() => {
                    self.terminal.say("not waiting any longer; the jobs go on (harvestctl status shows them)")?;
                    break;
                }
                () = until(deadline) => {
                    let waited = self.deadline.map(|(_, waited)| length(waited)).unwrap_or_default();
                    self.terminal.say(format!("gave up waiting after {waited}; the jobs go on (harvestctl status shows them)"))?;
                    break;
                }
            }
        }
        let report = waiting.report();
        let exit = if report.is_success() { Exit::Done } else { Exit::Failed };
        self.terminal.show_line(&Notice::Summary(report), self.format)?;
        Ok(exit)
    }

    fn look(&self, waiting: &mut Waiting) -> Vec<Progress> {
        let open = waiting.open();
        let states = open.iter().filter_map(|target| self.register.get(target));
        states.flat_map(|state| waiting.look(&state)).collect()
    }

    fn tell(&mut self, progress: Vec<Progress>) -> Result<(), CommandError> {
        for step in progress {
            // Stages are for who watches; a log of a cron job is long enough without them.
            let shown = self.format == Format::Json
                || self.terminal.reader() == Reader::Person
                || !matches!(step.step, Step::Stage { .. });
            if shown {
                self.terminal.show_line(&step, self.format)?;
            }
        }
        Ok(())
    }

    fn tell_status(&mut self, now: &BrokerStatus, connected: bool) -> Result<bool, CommandError> {
        match now {
            BrokerStatus::Disconnected { error, .. } if connected => {
                self.terminal.say(format!(
                    "lost RabbitMQ ({error}); the jobs go on, what happens is told once it is back"
                ))?;
                Ok(false)
            }
            BrokerStatus::Connected | BrokerStatus::Blocked { .. } if !connected => {
                self.terminal.say("RabbitMQ is back")?;
                Ok(true)
            }
            BrokerStatus::Connected | BrokerStatus::Blocked { .. } | BrokerStatus::Disconnected { .. } => {
                Ok(connected)
            }
        }
    }
}

/// For ever without a deadline.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
