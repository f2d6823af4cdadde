//! The whole producer: standby until the lock is free, then active until the lock is lost or the program leaves.
//!
//! Listener, signals, clock and shutdown are arguments, so that several producers run in one process.

use std::error::Error as StdError;
use std::time::Duration;

use account::KeyWatch;
use broker::{Broker, BrokerStatus, ConnectError, Lock, LockError, LockName, Register, SyncError};
use daytona::Client;
use lifecycle::{Condition, Drain, Endpoint, Health, Readiness, Shutdown};
use settings::FleetFile;
use telemetry::Metrics;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::base::{Bases, daytona_client};
use crate::fire::{FireError, Firer};
use crate::fleet_file_watcher::FleetFileWatcher;
use crate::keeper::{Awakenings, Keeper, Listing, SeenSandboxes, SleepingPrebuilds};
use crate::metrics::Role;
use crate::schedule::Schedule;
use crate::{Clock, ProducerMetrics, ProducerSettings};

/// How long the register may take to be read whole.
pub(crate) const REGISTER_READ: Duration = Duration::from_mins(2);
/// A loop that was not round for so long is stuck.
const STUCK: Duration = Duration::from_mins(5);

/// Why a producer ended before it was asked to.
#[derive(Debug, Error)]
pub enum ProducerError {
    /// There is no way to RabbitMQ.
    #[error("RabbitMQ cannot be used")]
    Connect(#[from] ConnectError),
    /// `--once`: the lock cannot be asked for.
    #[error("cannot tell whether another producer is active")]
    Lock(#[source] LockError),
    /// `--once`: what was fired before cannot be read.
    #[error("the register cannot be read")]
    Register(#[from] SyncError),
    /// The endpoint for health and metrics.
    #[error("the endpoint for health and metrics failed")]
    Endpoint(#[source] std::io::Error),
    /// `--once`: the tick is not complete.
    #[error("the tick is not complete")]
    Fire(#[from] FireError),
    /// `--once`: somebody else fires.
    #[error(
        "another producer of this fleet is active and fires the ticks; `harvestctl submit` builds a repository now"
    )]
    AnotherIsActive,
    /// `--once`: no fleet file, no jobs.
    #[error("the fleet file cannot be used")]
    FleetFile(#[from] settings::Problems),
    /// `--once`: nobody takes what it has to say.
    #[error("cannot write what was published")]
    Output(#[source] std::io::Error),
}

/// What a producer is given beside its settings.
#[derive(Debug)]
pub struct RunContext {
    /// This producer's name among several.
    pub instance: String,
    /// Where it reads the time.
    pub clock: Clock,
    /// Where its instruments are registered.
    pub metrics: Metrics,
    /// Says when to leave.
    pub shutdown: Shutdown,
}

/// Runs until `shutdown` asks for a drain.
pub async fn run(
    settings: ProducerSettings,
    listener: TcpListener,
    hangups: Signal,
    context: RunContext,
) -> Result<(), ProducerError> {
    let shutdown = context.shutdown.clone();
    let health = Health::new();
    let rendered = context.metrics.clone();
    let endpoint = Endpoint::serve(listener, health.clone(), move || rendered.render(), shutdown.clone())
        .map_err(ProducerError::Endpoint)?;
    let work = serve(&settings, &health, hangups, context);
    tokio::pin!(work);
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = shutdown.draining().cancelled() => match shutdown.drain_within(settings.drain.deadline, work).await {
            Drain::Drained(ended) => ended,
            Drain::DeadlinePassed | Drain::Forced => {
                tracing::warn!("left in the middle of a tick; the next active producer goes on with it");
                Ok(())
            }
        },
    };
    endpoint.stop().await;
    ended
}

async fn serve(
    settings: &ProducerSettings,
    health: &Health,
    hangups: Signal,
    context: RunContext,
) -> Result<(), ProducerError> {
    let metrics = ProducerMetrics::new(&context.metrics);
    let mut schedule = Schedule {
        settings: settings.schedule.clone(),
        fleet_file: FleetFileWatcher::new(FleetFile::new(&settings.fleet_file)),
        clock: context.clock.clone(),
        metrics: metrics.clone(),
        readiness: health.condition("fleet_file"),
        heartbeat: health.heartbeat("schedule", STUCK),
        hangups,
        dealt_with: None,
        listed: watch::Sender::new(None),
    };
    let listing = schedule.listed.subscribe();
    schedule.reload_fleet_file();
    let connected = health.condition("amqp");
    let broker = Broker::connect(settings.broker.clone().named(&context.instance)).await?;
    let election = LeaderElection {
        settings,
        context: &context,
        broker: &broker,
        register: Register::follow(&broker),
        client: daytona_client(settings.daytona.as_ref()),
        listing,
    };
    let watching_key = watch_key(election.client.clone(), &broker, election.register.clone());
    let electing = election.run(&mut schedule);
    tokio::select! {
        () = electing => {}
        () = watching_key => {}
        () = watch_connection(&broker, &connected) => {}
    }
    broker.close().await;
    Ok(())
}

/// Who of several producers is active: the one that holds the broker's lock.
struct LeaderElection<'a> {
    settings: &'a ProducerSettings,
    context: &'a RunContext,
    broker: &'a Broker,
    register: Register,
    client: Option<Client>,
    listing: Listing,
}

impl LeaderElection<'_> {
    /// Is standby and active in turn until the program drains.
    async fn run(&self, schedule: &mut Schedule) {
        let draining = self.context.shutdown.draining();
        let mut is_logged = false;
        schedule.metrics.record_role(Role::Standby);
        while !draining.is_cancelled() {
            schedule.stand_by();
            match self.broker.try_lock(LockName::Producer).await {
                Ok(lock) => {
                    is_logged = false;
                    self.lead(schedule, lock).await;
                    continue;
                }
                Err(LockError::Held(_)) if is_logged => {}
                Err(LockError::Held(_)) => {
                    is_logged = true;
                    tracing::info!("another producer is active; standing by");
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn StdError, "cannot ask for the producer's lock");
                }
            }
            tokio::select! {
                () = draining.cancelled() => {}
                () = tokio::time::sleep(schedule.settings.standby) => {}
            }
        }
    }

    /// Fires ticks, and keeps the fleet, until the lock is lost, when somebody else may be active, or the program drains.
    async fn lead(&self, schedule: &mut Schedule, lock: Lock) {
        // Whatever the last active producer recorded has to be seen before anything is due.
        if let Err(error) = self.register.sync(REGISTER_READ).await {
            tracing::warn!(
                error = &error as &dyn StdError,
                "the register cannot be read; giving the lock back"
            );
            return lock.release().await;
        }
        let metrics = schedule.metrics.clone();
        let seen = SeenSandboxes::default();
        let firer = make_firer(
            self.settings,
            self.broker,
            &lock,
            self.register.clone(),
            self.context,
            self.client.clone(),
            metrics.clone(),
        );
        let firer = Firer { seen: seen.clone(), ..firer };
        let keeper = self.keeper(&lock, metrics.clone(), seen);
        // Until then the register may hear of targets, and say of what was there before that it is nothing.
        if let Err(error) = firer.record_beginning().await {
            tracing::warn!(
                error = &error as &dyn StdError,
                "the register's beginning is recorded with the next tick"
            );
        }
        let last_tick = firer.last_tick().map(|tick| tick.to_string());
        tracing::info!(last_tick, "this producer is the active one");
        metrics.record_role(Role::Active);
        let lost = lock.lost();
        tokio::select! {
            () = schedule.run(&firer, &self.context.shutdown) => {}
            () = Box::pin(keeper.run()) => {}
            () = lost.cancelled() => tracing::warn!("the producer's lock is lost; standing by"),
        }
        metrics.record_role(Role::Standby);
        // The next active one says how many there are.
        metrics.record_stuck(0);
        metrics.record_gone_targets(0);
        metrics.record_held_retirements(0);
        lock.release().await;
    }

    fn keeper(&self, lock: &Lock, metrics: ProducerMetrics, seen: SeenSandboxes) -> Keeper {
        Keeper {
            fleet: self.settings.fleet.clone(),
            section: self.settings.keeper.clone(),
            lease: self.settings.lease,
            register: self.register.clone(),
            broker: self.broker.clone(),
            publisher: lock.publisher(),
            client: self.client.clone(),
            listing: self.listing.clone(),
            clock: self.context.clock.clone(),
            metrics,
            seen,
            sleeping: SleepingPrebuilds::default(),
            awakenings: Awakenings::default(),
        }
    }
}

/// Sends nothing to Daytona while it refuses the key, as the fleet knows it. Never ends.
async fn watch_key(client: Option<Client>, broker: &Broker, register: Register) {
    if let Some(client) = client {
        KeyWatch::new(client, broker.clone(), register).run().await;
    }
    std::future::pending::<()>().await;
}

/// Ready is who can reach the broker; standby or active makes no difference.
async fn watch_connection(broker: &Broker, connected: &Condition) {
    let mut status = broker.status();
    loop {
        let (readiness, reason) = match &*status.borrow_and_update() {
            BrokerStatus::Connected => (Readiness::Ready, "connected".to_owned()),
            BrokerStatus::Blocked { reason } => (Readiness::NotReady, format!("blocked: {reason}")),
            BrokerStatus::Disconnected { error, .. } => {
                (Readiness::NotReady, format!("disconnected: {error}"))
            }
        };
        connected.set(readiness, reason);
        if status.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

pub(crate) fn make_firer(
    settings: &ProducerSettings,
    broker: &Broker,
    lock: &Lock,
    register: Register,
    context: &RunContext,
    client: Option<Client>,
    metrics: ProducerMetrics,
) -> Firer {
    Firer {
        broker: broker.clone(),
        publisher: lock.publisher(),
        register,
        fleet: settings.fleet.clone(),
        instance: context.instance.clone(),
        bases: Bases::new(client),
        queue_depth_factor: settings.schedule.queue_depth_factor,
        clock: context.clock.clone(),
        metrics,
        seen: SeenSandboxes::default(),
    }
}
