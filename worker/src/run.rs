//! The whole worker: connect, take jobs in N slots, drain. Listener and shutdown are arguments, so that several workers
//! run in one process.

use std::sync::Arc;
use std::time::Duration;

use account::{KeyWatch, Rooms, write_limits_met};
use broker::{Broker, BrokerStatus, Register};
use daytona::Client;
use lifecycle::{Drain, Endpoint, Health, Readiness, Shutdown};
use settings::Secrets;
use telemetry::Metrics;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;

use crate::metrics::Instruments;
use crate::target_register::TargetRegister;
use crate::wiring::Connections;
use crate::{WorkerSettings, ledger_writer, wiring};

/// What attempts that were told to leave keep of the farewell for the ledger's last entries, connections and spans.
const FOR_LAST_WORDS: Duration = Duration::from_secs(10);
/// What the ledger's last entries keep of it for connections and spans.
const FOR_CONNECTIONS: Duration = Duration::from_secs(7);
/// What connections keep of it for spans.
const FOR_SPANS: Duration = Duration::from_secs(5);
/// How long the register may take to be read whole at the start.
const FIRST_READ: Duration = Duration::from_mins(2);

/// Why a worker did not start.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// RabbitMQ cannot be reached or used.
    #[error("RabbitMQ cannot be used")]
    Broker(#[from] broker::ConnectError),
    /// RabbitMQ is there, and the register in it could not be read whole.
    #[error("the register could not be read from RabbitMQ")]
    Register(#[from] broker::SyncError),
    /// The Daytona client cannot be set up.
    #[error("the Daytona client could not be set up")]
    Daytona(#[from] daytona::SettingsError),
    /// The git client cannot be set up.
    #[error("the git client could not be set up")]
    Remote(#[from] remote::SetupError),
    /// The listener for health and metrics could not be served.
    #[error("the endpoint for health and metrics failed")]
    Endpoint(#[source] std::io::Error),
}

/// Runs until `shutdown` asks for a drain and the slots are empty.
pub async fn run(
    settings: WorkerSettings,
    worker: String,
    listener: TcpListener,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), WorkerError> {
    let health = Health::new();
    let connected = health.condition("amqp");
    let instruments =
        Instruments::new(&metrics.meter(), u32::try_from(settings.file.slots).unwrap_or(u32::MAX));
    let endpoint = Endpoint::serve(listener, health.clone(), move || metrics.render(), shutdown.clone())
        .map_err(WorkerError::Endpoint)?;

    let broker = Broker::connect(settings.broker.clone().named(&worker)).await?;
    let register = Register::follow(&broker);
    register.sync(FIRST_READ).await?;
    let WorkerSettings { fleet, file, daytona, secrets, .. } = settings;
    warn_of_idle_secrets(&secrets);
    let client = Client::new(daytona)?;
    let (ledger, flusher) = ledger_writer::open(&worker, file.ledger.batch.max(Duration::from_millis(10)));
    let rooms = Rooms::new(client.clone(), fleet.clone(), file.quota, register.clone());
    let key = KeyWatch::new(client.clone(), broker.clone(), register.clone());
    let mut account = JoinSet::new();
    let limits = write_limits_met(client.limits_met(), rooms.clone(), register.clone());
    account.spawn(limits.with_current_subscriber());
    account.spawn(async move { key.run().await }.with_current_subscriber());
    let showing = show_key(client.clone(), health.condition("daytona"), instruments.clone());
    account.spawn(showing.with_current_subscriber());
    let connections = Connections {
        client: client.clone(),
        rooms,
        register: TargetRegister::new(register),
        ledger,
        metrics: instruments.clone(),
    };
    let slots = file.slots;
    let queues: Vec<_> = file.queues.iter().copied().collect();
    let drain_deadline = file.drain.deadline;
    let consumer = Arc::new(wiring::consumer(worker, fleet.clone(), file, secrets, connections)?);

    let all_written = CancellationToken::new();
    let flushing =
        tokio::spawn(flusher.run(broker.publisher(), all_written.clone()).with_current_subscriber());
    let leaving = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for number in 0..slots {
        let slot = broker.slot_on(&queues);
        let work = Arc::clone(&consumer).run_slot(number, slot, shutdown.draining().clone(), leaving.clone());
        tasks.spawn(work.with_current_subscriber());
    }
    let watching =
        tokio::spawn(watch(broker.clone(), connected, shutdown.draining().clone()).with_current_subscriber());
    tracing::info!(slots, ?queues, %fleet, "worker takes jobs");

    drain(&mut tasks, &shutdown, &leaving, drain_deadline).await;
    all_written.cancel();
    let farewell = shutdown.farewell();
    for mut task in [flushing, watching] {
        match farewell.wait(FOR_CONNECTIONS, &mut task).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a task of the worker ended badly"),
            None => {
                task.abort();
                tracing::warn!("a ledger without a broker is left unfinished: the worker leaves");
            }
        }
    }
    drop(consumer);
    account.shutdown().await;
    let closing = async {
        broker.close().await;
        endpoint.stop().await;
    };
    if farewell.wait(FOR_SPANS, closing).await.is_none() {
        tracing::warn!("connections are left open: the worker leaves");
    }
    Ok(())
}

/// Says whether Daytona takes the key, for as long as it is let.
async fn show_key(client: Client, condition: lifecycle::Condition, metrics: Instruments) {
    let mut refused = client.key().watch();
    loop {
        let is_refused = *refused.borrow_and_update();
        metrics.record_key_refused(is_refused);
        if is_refused {
            condition
                .set(Readiness::NotReady, "the API refuses DAYTONA_API_KEY: no jobs are taken".to_owned());
        } else {
            condition.set(Readiness::Ready, "no call was refused for its key".to_owned());
        }
        if refused.changed().await.is_err() {
            return;
        }
    }
}

/// Says which secrets no job can be given, and which rules are for none.
fn warn_of_idle_secrets(secrets: &Secrets) {
    for name in secrets.without_rule() {
        let line = format!(
            "[secrets.{name}] git = [\"https://github.com/owner/\"], or repositories = [\"owner/*\"] for builds"
        );
        tracing::warn!(name, line, "secret is set, and no rule says what for: no job is given it");
    }
    for name in secrets.rules_for_nothing() {
        tracing::info!(name, "there is a rule for a secret that is not set");
    }
}

/// Waits for the slots: as long as it takes while working, then `deadline`, then until they have let go.
async fn drain(
    tasks: &mut JoinSet<()>,
    shutdown: &Shutdown,
    leaving: &CancellationToken,
    deadline: Duration,
) {
    tokio::select! {
        // First, since slots that are asked to end may all have ended by the time this is looked at.
        biased;
        () = shutdown.draining().cancelled() => {}
        () = join_all(tasks) => {
            tracing::error!("every slot ended although nobody asked for it; leaving");
            shutdown.drain();
        }
    }
    tracing::info!(under_way = tasks.len(), "draining: no new jobs");
    if let Drain::Drained(()) = shutdown.drain_within(deadline, join_all(tasks)).await {
        return;
    }
    tracing::info!(under_way = tasks.len(), "drain deadline passed: attempts under way are handed back");
    leaving.cancel();
    if shutdown.farewell().wait(FOR_LAST_WORDS, join_all(tasks)).await.is_none() {
        tracing::warn!(under_way = tasks.len(), "attempts did not let go in time; their messages come again");
        tasks.shutdown().await;
    }
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            tracing::error!(%error, "a slot ended badly");
        }
    }
}

/// Says that the worker is ready for as long as it is connected, and so can take jobs.
async fn watch(broker: Broker, connected: lifecycle::Condition, until: CancellationToken) {
    let mut status = broker.status();
    loop {
        let now = status.borrow_and_update().clone();
        let ready = if now.is_connected() { Readiness::Ready } else { Readiness::NotReady };
        connected.set(ready, describe(&now));
        tokio::select! {
            () = until.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

fn describe(status: &BrokerStatus) -> String {
    match status {
        BrokerStatus::Connected => "connected".to_owned(),
        BrokerStatus::Disconnected { since, error } => format!("disconnected since {since}: {error}"),
        BrokerStatus::Blocked { reason } => format!("RabbitMQ takes no messages: {reason}"),
    }
}
