//! `harvestctl pause` and `resume`: nothing is built of a target for a while. What it has promoted is given as before.

use broker::Register;
use chrono::{DateTime, Utc};
use job::{Concern, Folded, LedgerEvent, Pause, Target};
use serde::Serialize;

use crate::acts::OperatorActs;
use crate::broker_access::{BrokerAccess, REGISTER_READ};
use crate::cli::{PauseTargets, ResumeTargets};
use crate::error::CommandError;
use crate::fleet_file_source::FleetFileSource;
use crate::layout::format_table;
use crate::output::View;
use crate::targets::find_target;
use crate::time::at;

/// Pauses and resumes targets.
pub(super) struct Pauser<'a> {
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) acts: &'a OperatorActs,
}

/// What was said of each target.
#[derive(Debug, Serialize)]
pub(super) struct PauseView {
    at: DateTime<Utc>,
    targets: Vec<PausedTarget>,
}

/// How one target stands now.
#[derive(Debug, Serialize)]
struct PausedTarget {
    target: Target,
    /// None where it is not paused any more.
    pause: Option<Pause>,
    /// Whether it was paused before.
    was_paused: bool,
    /// Why the register did not take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl PauseView {
    /// Whether every target is as it was wanted.
    pub(super) fn is_done(&self) -> bool {
        self.targets.iter().all(|target| target.error.is_none())
    }
}

impl Pauser<'_> {
    /// Has nothing built of these targets.
    pub(super) async fn pause(&self, wanted: &PauseTargets) -> Result<PauseView, CommandError> {
        let now = Utc::now();
        if wanted.until.is_some_and(|until| until <= now) {
            return Err(CommandError::usage("--until is in the past: say a time to come, or how long (2h)"));
        }
        let pause = Pause {
            reason: wanted.reason.clone(),
            by: self.acts.operator().to_owned(),
            since: now,
            until: wanted.until,
        };
        self.say(&wanted.targets, Some(&pause), "pause", now).await
    }

    /// Lets these targets be built again.
    pub(super) async fn resume(&self, wanted: &ResumeTargets) -> Result<PauseView, CommandError> {
        self.say(&wanted.targets, None, "resume", Utc::now()).await
    }

    async fn say(
        &self,
        names: &[String],
        pause: Option<&Pause>,
        act: &str,
        now: DateTime<Utc>,
    ) -> Result<PauseView, CommandError> {
        let (broker, register) = self.broker.connect_with_register().await?;
        let said = async {
            // A wrong name is told before anything is said of the others.
            let found: Result<Vec<Target>, _> =
                names.iter().map(|name| find_target(name, self.fleet_file, Some(known(&register)))).collect();
            let mut targets = Vec::new();
            for target in found? {
                let was_paused = register.get(&target).is_some_and(|state| state.pause_at(now).is_some());
                let told = register.append(&target, Concern::Pause(pause.cloned()), REGISTER_READ).await;
                let error = match told {
                    Ok(Folded::Taken) => None,
                    Ok(Folded::Outdated | Folded::Refused | Folded::Overtaken) => {
                        Some("somebody else paused or resumed it at the same time: look again".to_owned())
                    }
                    Err(error) => Some(error_chain::line(&error)),
                };
                if error.is_some() {
                    targets.push(PausedTarget { target, pause: None, was_paused, error });
                    continue;
                }
                let event =
                    LedgerEvent::Operator { act: act.to_owned(), target: Some(target.clone()), job: None };
                // The register has it: a ledger that lacks it is no reason to say that it failed.
                if let Err(error) = self.acts.record(&broker.publisher(), event, None).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the ledger does not have it");
                }
                targets.push(PausedTarget { target, pause: pause.cloned(), was_paused, error });
            }
            Ok(PauseView { at: now, targets })
        };
        let said = said.await;
        broker.close().await;
        said
    }
}

fn known(register: &Register) -> Vec<Target> {
    register.targets().iter().map(|state| state.target.clone()).collect()
}

impl View for PauseView {
    fn text(&self) -> String {
        let row = |paused: &PausedTarget| {
            let now = match (&paused.error, &paused.pause, paused.was_paused) {
                (Some(error), _, _) => format!("as before: {error}"),
                (None, Some(pause), _) => describe(pause, self.at),
                (None, None, true) => "resumed: the next tick looks at it".to_owned(),
                (None, None, false) => "was not paused".to_owned(),
            };
            [paused.target.to_string(), now]
        };
        format_table(["TARGET", "NOW"], self.targets.iter().map(row))
    }
}

/// A pause, in a few words.
pub(in crate::commands) fn describe(pause: &Pause, now: DateTime<Utc>) -> String {
    let until = match pause.until {
        Some(until) => format!("until {}", at(until, now)),
        None => "until it is resumed".to_owned(),
    };
    format!("paused {until} by {}: {}", pause.by, pause.reason)
}
