//! `harvestctl submit`: on-demand jobs, and with `--wait` what becomes of them until each has ended.

mod view;
mod watch;
mod watched_jobs;

use std::time::Duration;

use broker::{Broker, JobMessage, Ledger, PublishSpan, ReadFrom, WorkQueue};
use chrono::Utc;
use daytona::BaseIds;
use job::{Envelope, FleetName, Job, LedgerEvent};
use lifecycle::Shutdown;
use settings::FleetLoad;

use crate::acts::OperatorActs;
use crate::bases::look_up_bases;
use crate::broker_access::BrokerAccess;
use crate::cli::Submit;
use crate::daytona_access::DaytonaAccess;
use crate::error::{CommandError, Exit};
use crate::fleet_file_source::FleetFileSource;
use crate::output::Output;
use crate::targets::{Listed, choose};
use view::SubmitView;
pub(super) use view::SubmittedView;
use watch::Watch;

/// Where jobs go that somebody asked for.
const QUEUE: WorkQueue = WorkQueue::OnDemand;
/// How long publishing may take in all, reconnecting included.
const PATIENCE: Duration = Duration::from_mins(1);
/// Clocks differ: the ledger is read from a little earlier.
const SKEW: Duration = Duration::from_mins(1);

/// Makes jobs and publishes them, with what it asks and writes.
pub(super) struct Submitter<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) acts: &'a OperatorActs,
}

impl Submitter<'_> {
    /// Publishes a job for each target that is wanted, and waits for their ends where that is wanted, too.
    pub(super) async fn submit(
        &self,
        wanted: &Submit,
        output: &mut Output<'_>,
        shutdown: &Shutdown,
    ) -> Result<Exit, CommandError> {
        let load = self.fleet_file.load()?;
        for problem in &load.problems {
            output.print_note(format!("left out: {problem}"))?;
        }
        let problems = load.problems.iter().map(ToString::to_string).collect();
        let chosen = choose_wanted(&load, wanted)?;
        let broker = self.broker.connect().await?;
        // The ledger is followed from before the first publish, so that no end is missed.
        let since = Utc::now() - SKEW;
        let ledger = wanted.wait.then(|| Ledger::follow(&broker, ReadFrom::Time(since)));
        let submitted = self.enqueue(&broker, chosen, wanted, "submit", output).await?;
        let all_published = submitted.iter().all(|job| job.error.is_none());
        let exit = match ledger {
            None => {
                output.print(&SubmitView { submitted, problems })?;
                if all_published { Exit::Done } else { Exit::Failed }
            }
            Some(ledger) => {
                let mut watch = Watch::new(&broker, ledger, wanted.timeout, output);
                let jobs = watch.begin(submitted)?;
                watch.run(jobs, shutdown).await?
            }
        };
        broker.close().await;
        Ok(exit)
    }

    /// Publishes a job for each of these, and writes to the ledger that this act of an operator asked for it.
    pub(super) async fn enqueue(
        &self,
        broker: &Broker,
        chosen: Vec<&Listed>,
        wanted: &Submit,
        act: &str,
        output: &mut Output<'_>,
    ) -> Result<Vec<SubmittedView>, CommandError> {
        let names = chosen.iter().map(|(_, settings)| settings.base_snapshot.as_str());
        let bases = look_up_bases(self.daytona, names, output).await?;
        let messages = chosen.into_iter().map(|listed| make_message(self.fleet, listed, &bases, wanted));
        Ok(self.publish(broker, messages.collect(), act).await)
    }

    async fn publish(
        &self,
        broker: &Broker,
        messages: Vec<(JobMessage, PublishSpan)>,
        act: &str,
    ) -> Vec<SubmittedView> {
        let publisher = broker.publisher();
        let results =
            publisher.publish_jobs(messages.iter().map(|(message, _)| message.clone()), PATIENCE).await;
        let mut submitted = Vec::with_capacity(messages.len());
        let mut ledger_answers = true;
        for ((message, span), result) in messages.into_iter().zip(results) {
            if let Err(error) = &result {
                span.record_error(error);
            }
            let error = result.err().map(|error| error_chain::line(&error));
            let trace_id = telemetry::trace_id_of(&message.envelope.trace);
            let (target, job) = (message.job.target, message.job.id);
            if error.is_none() && ledger_answers {
                let act = LedgerEvent::operator_act(act, target.clone(), job);
                if let Err(error) = self.acts.record(&publisher, act, trace_id.clone()).await {
                    tracing::warn!(
                        error = error_chain::line(&error),
                        "the ledger does not know who submitted this"
                    );
                    // One wait for a broker that blocks is enough.
                    ledger_answers = false;
                }
            }
            submitted.push(SubmittedView { target, job, trace_id, error });
        }
        submitted
    }
}

fn choose_wanted<'a>(load: &'a FleetLoad, wanted: &Submit) -> Result<Vec<&'a Listed>, CommandError> {
    let chosen: Vec<&Listed> = if wanted.all {
        load.targets.iter().collect()
    } else {
        choose(load, &wanted.targets).map_err(|unknown| CommandError::NotFound(unknown.to_string()))?
    };
    if chosen.is_empty() {
        return Err(CommandError::usage("fleet.toml lists no target: add [[repository]] entries"));
    }
    Ok(chosen)
}

/// The job and the root span of its trace, which ends once it is confirmed.
fn make_message(
    fleet: &FleetName,
    (target, settings): &Listed,
    bases: &BaseIds,
    wanted: &Submit,
) -> (JobMessage, PublishSpan) {
    let base_snapshot_id = bases.id_of(&settings.base_snapshot).map(ToString::to_string);
    let job = Job { forced: wanted.force, ..Job::on_demand(fleet, target, settings, base_snapshot_id) };
    let span = PublishSpan::new(&job, QUEUE);
    let envelope = Envelope::first(Utc::now(), telemetry::carrier_of(span.span()));
    (JobMessage { job, envelope, queue: QUEUE }, span)
}
