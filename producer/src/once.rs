//! `--once`: one tick now, for schedules that something else keeps.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use broker::{Broker, LockError, LockName, Register};
use job::{Job, Tick};
use settings::FleetFile;
use tokio::sync::watch;

use crate::base::daytona_client;
use crate::cli::SKIPPED;
use crate::fire::{Progress, TickEnd};
use crate::keeper::{Awakenings, Keeper, ListedTargets, SeenSandboxes, SleepingPrebuilds};
use crate::run::{ProducerError, REGISTER_READ, RunContext, make_firer};
use crate::{Firing, ProducerMetrics, ProducerSettings, SkipReason};

/// What became of the one tick.
#[derive(Debug)]
enum OnceResult {
    /// Every job is published.
    Fired { tick: Tick, jobs: Vec<Job> },
    /// There was no room for the jobs.
    Skipped(SkipReason),
}

/// Fires the current tick, even one that was fired before: its jobs keep their ids, so what is up to date stays as it is.
/// What was published goes to `output`, and into the exit code.
pub async fn once(
    settings: ProducerSettings,
    context: RunContext,
    output: &mut (impl Write + Send),
) -> Result<ExitCode, ProducerError> {
    let load = FleetFile::load(&settings.fleet_file)?;
    for problem in &load.problems {
        tracing::error!("{problem}");
    }
    let broker = Broker::connect(settings.broker.clone().named(&context.instance)).await?;
    let ended = fire(&settings, &context, &broker, &load).await;
    broker.close().await;
    ended?.write(output)
}

async fn fire(
    settings: &ProducerSettings,
    context: &RunContext,
    broker: &Broker,
    load: &settings::FleetLoad,
) -> Result<OnceResult, ProducerError> {
    let lock = broker.try_lock(LockName::Producer).await.map_err(|error| {
        if matches!(error, LockError::Held(_)) {
            ProducerError::AnotherIsActive
        } else {
            ProducerError::Lock(error)
        }
    })?;
    let register = Register::follow(broker);
    register.sync(REGISTER_READ).await?;
    let metrics = ProducerMetrics::new(&context.metrics);
    let client = daytona_client(settings.daytona.as_ref());
    let (targets, problems) = (load.targets.clone(), load.problems.len());
    let listed = ListedTargets { targets, every: load.every, problems };
    let keeper = Keeper {
        fleet: settings.fleet.clone(),
        section: settings.keeper.clone(),
        lease: settings.lease,
        register: register.clone(),
        broker: broker.clone(),
        publisher: lock.publisher(),
        client: client.clone(),
        listing: watch::Sender::new(Some(Arc::new(listed))).subscribe(),
        clock: context.clock.clone(),
        metrics: metrics.clone(),
        seen: SeenSandboxes::default(),
        sleeping: SleepingPrebuilds::default(),
        awakenings: Awakenings::default(),
    };
    let firer = make_firer(settings, broker, &lock, register, context, client, metrics);
    let tick = Tick::at_or_before(context.clock.now(), load.every);
    let end = firer.fire(tick, Firing::OnTime, &load.targets, &mut Progress::default()).await?;
    keeper.run_once().await;
    lock.release().await;
    Ok(match end {
        TickEnd::Fired { jobs } => OnceResult::Fired { tick, jobs },
        TickEnd::Skipped(reason) => OnceResult::Skipped(reason),
    })
}

impl OnceResult {
    /// Writes it for people; the exit code is for programs.
    fn write(&self, output: &mut impl Write) -> Result<ExitCode, ProducerError> {
        let written = match self {
            Self::Fired { tick, jobs } => writeln!(output, "tick {tick}: {} jobs published", jobs.len())
                .and_then(|()| {
                    jobs.iter().try_for_each(|job| writeln!(output, "{}  {}", job.id, job.target))
                }),
            Self::Skipped(reason) => writeln!(output, "tick skipped: {reason}"),
        };
        written.map_err(ProducerError::Output)?;
        Ok(match self {
            Self::Fired { .. } => ExitCode::SUCCESS,
            Self::Skipped(_) => ExitCode::from(SKIPPED),
        })
    }
}
