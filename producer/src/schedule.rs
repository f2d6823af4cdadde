//! The active producer's loop: read the fleet file, fire what is due, wait.
//!
//! A tick counts as dealt with once it is in the register, or once it was skipped. Until then it stays due, and what was
//! confirmed of it is not published again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use job::Tick;
use lifecycle::{Condition, Heartbeat, Readiness, Shutdown};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::fire::{Firer, Progress, TickEnd};
use crate::fleet_file_watcher::{FleetFileWatcher, Reload};
use crate::keeper::ListedTargets;
use crate::{Clock, Due, ProducerMetrics, ScheduleSection, due};

/// How long a tick that failed half-way waits before it goes on.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Everything the loop keeps between ticks, and from one time of being active to the next.
pub(crate) struct Schedule {
    pub(crate) settings: ScheduleSection,
    pub(crate) fleet_file: FleetFileWatcher,
    pub(crate) clock: Clock,
    pub(crate) metrics: ProducerMetrics,
    pub(crate) readiness: Condition,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) hangups: Signal,
    /// The last tick that was fired or skipped here; the register shows it a moment later, or never.
    pub(crate) dealt_with: Option<Tick>,
    /// The targets in force, for the keeper.
    pub(crate) listed: watch::Sender<Option<Arc<ListedTargets>>>,
}

impl Schedule {
    /// Fires ticks until the program drains. Dropped when the lock is lost.
    pub(crate) async fn run(&mut self, firer: &Firer, shutdown: &Shutdown) {
        let mut progress = Progress::default();
        while !shutdown.draining().is_cancelled() {
            self.heartbeat.beat();
            self.reload_fleet_file();
            let wait = self.fire_if_due(firer, &mut progress).await;
            tokio::select! {
                () = shutdown.draining().cancelled() => {}
                _ = self.hangups.recv() => tracing::info!("SIGHUP: looking at the fleet file"),
                () = tokio::time::sleep(wait.min(self.settings.reload)) => {}
            }
        }
    }

    /// One round of waiting for the lock: a standby knows the fleet file when its turn comes.
    pub(crate) fn stand_by(&mut self) {
        self.heartbeat.beat();
        self.reload_fleet_file();
    }

    /// Reads the fleet file where it changed, and logs once what is new in it.
    pub(crate) fn reload_fleet_file(&mut self) {
        let file = self.fleet_file.path().display().to_string();
        let problems = match self.fleet_file.reload() {
            Reload::Unchanged => return,
            Reload::Changed { targets, problems } => {
                tracing::info!(file, targets, problems = problems.len(), "fleet file read");
                problems
            }
            Reload::Unusable(settings::Problems(problems)) => {
                tracing::error!(
                    file,
                    targets = self.fleet_file.targets().len(),
                    "the fleet file cannot be used; what was in force still is"
                );
                problems
            }
        };
        for problem in &problems {
            tracing::error!("{problem}");
        }
        self.metrics.record_targets(self.fleet_file.targets().len());
        self.metrics.record_config_problems(problems.len());
        if self.fleet_file.is_loaded() {
            let targets = self.fleet_file.targets().to_vec();
            let (every, problems) = (self.fleet_file.every(), problems.len());
            self.listed.send_replace(Some(Arc::new(ListedTargets { targets, every, problems })));
            self.readiness.set(Readiness::Ready, format!("{} targets", self.fleet_file.targets().len()));
        }
    }

    /// Fires the tick that is due, if one is. Answers how long there is nothing to do.
    async fn fire_if_due(&mut self, firer: &Firer, progress: &mut Progress) -> Duration {
        if !self.fleet_file.is_loaded() {
            return self.settings.reload;
        }
        let now = self.clock.now();
        let last = firer.last_tick().max(self.dealt_with);
        let (tick, firing) = match due(last, now, self.fleet_file.every()) {
            Due::Wait(until) => return (until - now).to_std().unwrap_or_default(),
            Due::Fire(tick, firing) => (tick, firing),
        };
        match firer.fire(tick, firing, self.fleet_file.targets(), progress).await {
            Ok(TickEnd::Fired { .. } | TickEnd::Skipped(_)) => {
                self.dealt_with = Some(tick);
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(%tick, error = &error as &dyn Error, "the tick is not complete; going on with it soon");
                AFTER_FAILURE
            }
        }
    }
}
