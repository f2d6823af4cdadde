//! Firing one tick: is there room, from which base, which jobs in which order, publish them all, then record the tick.
//!
//! The register is written last: a producer that dies before it leaves the tick due, and its successor publishes the same
//! ids again.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use daytona::BaseIds;
use job::{
    Envelope, FleetName, FleetState, Job, JobId, LedgerEntry, LedgerEvent, RegisterEntry, Settings, Target,
    Tick,
};
use telemetry::Carrier;
use thiserror::Error;
use tracing::{Instrument, Span};

use broker::{
    Broker, BrokerError, BrokerStatus, JobMessage, PublishError, PublishSpan, Publisher, Register, SyncError,
    WorkQueue,
};

use crate::base::Bases;
use crate::due::Firing;
use crate::keeper::SeenSandboxes;
use crate::plan::plan_jobs;
use crate::room::{BrokerLoad, Flow, Room, SkipReason, check_room};
use crate::{Clock, ProducerMetrics};

/// Where the schedule's jobs go.
const QUEUE: WorkQueue = WorkQueue::Refresh;
/// Jobs published together: enough to fill the broker's window, few enough to hold their spans.
const BATCH: usize = 1000;
/// How long the register may take to be current: a moment, unless the broker holds the mark back.
const REGISTER_READ: Duration = Duration::from_secs(15);
/// How long one batch may take, reconnecting included.
const BATCH_PATIENCE: Duration = Duration::from_mins(1);

/// How a tick ended.
#[derive(Debug)]
pub(crate) enum TickEnd {
    /// Every job is confirmed and the tick is in the register.
    Fired {
        /// In the order of publishing.
        jobs: Vec<Job>,
    },
    /// There was no room.
    Skipped(SkipReason),
}

/// Why a tick is not complete. It stays due.
#[derive(Debug, Error)]
pub enum FireError {
    /// The register could not be read to its end.
    #[error("the register cannot be read")]
    Register(#[source] SyncError),
    /// The broker could not be asked.
    #[error("RabbitMQ cannot say whether there is room")]
    Room(#[source] BrokerError),
    /// Some jobs were not confirmed.
    #[error("{failed} of {jobs} jobs were not confirmed")]
    Unconfirmed {
        /// How many of them.
        failed: usize,
        /// How many jobs the tick has.
        jobs: usize,
        /// What the first of them met.
        #[source]
        first: PublishError,
    },
    /// The tick could not be recorded.
    #[error("all jobs are published, but the register did not take the tick")]
    Record(#[source] PublishError),
}

/// What is confirmed of a tick that is not complete, and which bases its jobs name.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    tick: Option<Tick>,
    confirmed: HashSet<JobId>,
    bases: Option<BaseIds>,
}

impl Progress {
    /// What there is of this tick: nothing, when the last one was another.
    fn for_tick(&mut self, tick: Tick) -> &mut Self {
        if self.tick != Some(tick) {
            *self = Self { tick: Some(tick), ..Self::default() };
        }
        self
    }
}

/// Publishes the jobs of ticks while this producer is the active one.
pub(crate) struct Firer {
    pub(crate) broker: Broker,
    /// The lock's own: who is not the active producer any more publishes nothing.
    pub(crate) publisher: Publisher,
    pub(crate) register: Register,
    pub(crate) fleet: FleetName,
    pub(crate) instance: String,
    pub(crate) bases: Bases,
    pub(crate) queue_depth_factor: u32,
    pub(crate) clock: Clock,
    pub(crate) metrics: ProducerMetrics,
    /// What the keeper has seen of sandboxes. Nothing, where none is at work.
    pub(crate) seen: SeenSandboxes,
}

impl Firer {
    /// The last tick that any producer of the fleet fired.
    pub(crate) fn last_tick(&self) -> Option<Tick> {
        self.register.fleet().last_tick
    }

    /// Fires `tick`, or skips it where there is no room.
    pub(crate) async fn fire(
        &self,
        tick: Tick,
        firing: Firing,
        targets: &[(Target, Settings)],
        progress: &mut Progress,
    ) -> Result<TickEnd, FireError> {
        let span = tracing::info_span!(parent: None, "schedule.tick", tick = %tick, jobs.enqueued = tracing::field::Empty);
        self.fire_within(&span, tick, firing, targets, progress).instrument(span.clone()).await
    }

    async fn fire_within(
        &self,
        span: &Span,
        tick: Tick,
        firing: Firing,
        targets: &[(Target, Settings)],
        progress: &mut Progress,
    ) -> Result<TickEnd, FireError> {
        let progress = progress.for_tick(tick);
        // What is published of this tick already fills the queue too, and must not stop the rest.
        if progress.confirmed.is_empty()
            && let Room::None(reason) =
                check_room(self.measure_load().await?, targets.len(), self.queue_depth_factor)
        {
            tracing::warn!(%tick, "tick skipped: {reason}");
            self.metrics.count_skipped();
            self.write_ledger(LedgerEvent::TickSkipped { tick, reason: reason.to_string() }).await;
            return Ok(TickEnd::Skipped(reason));
        }
        self.record_beginning().await?;
        if let Firing::Missed(ticks) = firing {
            tracing::warn!(%tick, missed = ticks, "ticks were missed; firing the latest once");
        }
        let bases = match &progress.bases {
            // The rest of a tick builds from what its first jobs do.
            Some(bases) => bases,
            None => progress.bases.insert(self.bases.look_up(targets).await),
        };
        let jobs = plan_jobs(&self.fleet, tick, targets, bases, |target| self.promoted_at(target));
        span.record("jobs.enqueued", jobs.len());
        self.publish(span, &jobs, &mut progress.confirmed).await?;

        let state = FleetState { last_tick: Some(tick), since: Some(self.register_began()) };
        self.publisher.publish_register(&RegisterEntry::Fleet(state)).await.map_err(FireError::Record)?;
        self.metrics.count_fired(tick);
        tracing::info!(%tick, jobs = jobs.len(), "tick fired");
        self.write_ledger(LedgerEvent::TickFired {
            tick,
            jobs: u64::try_from(jobs.len()).unwrap_or(u64::MAX),
        })
        .await;
        Ok(TickEnd::Fired { jobs })
    }

    /// How much waits, and whether more is taken. Publishing is the only way to learn that it blocks publishers, so the register is
    /// brought up to date first, which publishes a mark.
    async fn measure_load(&self) -> Result<BrokerLoad, FireError> {
        let synced = self.register.sync(REGISTER_READ).await;
        if matches!(*self.broker.status().borrow(), BrokerStatus::Blocked { .. }) {
            return Ok(BrokerLoad { depth: 0, flow: Flow::Blocked });
        }
        synced.map_err(FireError::Register)?;
        let depths = self.broker.queue_depths().await.map_err(FireError::Room)?;
        Ok(BrokerLoad { depth: u64::from(depths.refresh), flow: Flow::Open })
    }

    /// When the register began: now, where no tick was ever recorded in it. Older programs recorded ticks and no beginning.
    fn register_began(&self) -> DateTime<Utc> {
        let FleetState { last_tick, since } = self.register.fleet();
        since.unwrap_or_else(|| last_tick.map_or_else(|| self.clock.now(), |_| DateTime::UNIX_EPOCH))
    }

    /// Writes into a register that has just begun since when it is one.
    pub(crate) async fn record_beginning(&self) -> Result<(), FireError> {
        let FleetState { last_tick, since } = self.register.fleet();
        if since.is_some() {
            return Ok(());
        }
        let begun = FleetState { last_tick, since: Some(self.register_began()) };
        self.publisher.publish_register(&RegisterEntry::Fleet(begun)).await.map_err(FireError::Record)?;
        self.register.sync(REGISTER_READ).await.map_err(FireError::Register)
    }

    fn promoted_at(&self, target: &Target) -> Option<DateTime<Utc>> {
        Some(self.register.get(target)?.promoted.as_ref()?.built_at)
    }

    /// Publishes what is not confirmed yet, a batch at a time.
    async fn publish(
        &self,
        tick: &Span,
        jobs: &[Job],
        confirmed: &mut HashSet<JobId>,
    ) -> Result<(), FireError> {
        let missing: Vec<&Job> = jobs.iter().filter(|job| !confirmed.contains(&job.id)).collect();
        let link = telemetry::carrier_of(tick);
        let mut failed = 0;
        let mut first = None;
        for batch in missing.chunks(BATCH) {
            let before = confirmed.len();
            for error in self.publish_batch(&link, batch, confirmed).await {
                failed += 1;
                first.get_or_insert(error);
            }
            self.metrics.count_published(QUEUE.as_str(), confirmed.len() - before);
        }
        first.map_or(Ok(()), |first| Err(FireError::Unconfirmed { failed, jobs: jobs.len(), first }))
    }

    async fn publish_batch(
        &self,
        link: &Carrier,
        batch: &[&Job],
        confirmed: &mut HashSet<JobId>,
    ) -> Vec<PublishError> {
        let now = self.clock.now();
        // The spans end with the batch: each lasts until its job is confirmed, or given up.
        let spans: Vec<PublishSpan> = batch.iter().map(|job| linked_span(job, link)).collect();
        let messages = batch.iter().zip(&spans).map(|(job, span)| JobMessage {
            job: (*job).clone(),
            envelope: Envelope {
                leases_seen: self.seen.of_target(&self.fleet, &job.target),
                ..Envelope::first(now, telemetry::carrier_of(span.span()))
            },
            queue: QUEUE,
        });
        let results = self.publisher.publish_jobs(messages.collect::<Vec<_>>(), BATCH_PATIENCE).await;
        let mut errors = Vec::new();
        for ((job, span), result) in batch.iter().zip(&spans).zip(results) {
            match result {
                Ok(()) => drop(confirmed.insert(job.id)),
                Err(error) => {
                    span.record_error(&error);
                    errors.push(error);
                }
            }
        }
        errors
    }

    /// Writes to the ledger. An entry that is lost is no reason to stop: nothing is decided by it.
    async fn write_ledger(&self, event: LedgerEvent) {
        let entry =
            LedgerEntry::new(self.clock.now(), &self.instance, event).in_trace(telemetry::current_trace_id());
        if let Err(error) = self.publisher.publish_ledger(&entry).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a ledger entry was lost");
        }
    }
}

/// The root of the job's trace, linked to the tick's.
fn linked_span(job: &Job, tick: &Carrier) -> PublishSpan {
    let span = PublishSpan::new(job, QUEUE);
    telemetry::add_link(span.span(), tick);
    span
}
