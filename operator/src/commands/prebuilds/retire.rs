//! `harvestctl prebuilds retire`: withdraws the prebuilds of targets that are gone from the fleet file, without waiting for the day on
//! which the keeper would. The keeper then deletes their snapshots.

use std::collections::BTreeSet;

use broker::Register;
use chrono::{TimeDelta, Utc};
use job::{Concern, EntryVersion, FleetName, Folded, Revocation, Revoked, Target, due_retirements};
use serde::Serialize;

use crate::broker_access::{BrokerAccess, REGISTER_READ};
use crate::cli::Retire;
use crate::error::{CommandError, Exit};
use crate::fleet_file_source::FleetFileSource;
use crate::layout::format_table;
use crate::output::{Output, View};
use crate::targets::find_target;
use crate::terminal::Answer;
use crate::time::absolute;

/// Retires targets, with what it asks and writes.
pub(super) struct Retirer<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    /// How long a target has to be gone where it is not named.
    pub(super) patience: TimeDelta,
}

/// What became of a target that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum RetireEnd {
    /// Nothing was done: it would be.
    WouldBe,
    /// Nobody is given its prebuilds any more; the keeper deletes them.
    Retired,
    /// It has come back to the fleet file meanwhile.
    CameBack,
    /// The register could not be told.
    NotRetired {
        /// What stood in the way.
        error: String,
    },
}

impl RetireEnd {
    fn sentence(&self) -> String {
        match self {
            Self::WouldBe => "would be retired".to_owned(),
            Self::Retired => "retired: the keeper deletes its prebuilds".to_owned(),
            Self::CameBack => "not retired: it has come back to the fleet file".to_owned(),
            Self::NotRetired { error } => format!("NOT retired: {error}"),
        }
    }
}

/// A target, and what became of it.
#[derive(Debug, Serialize)]
struct RetiredTarget {
    target: Target,
    gone_since: chrono::DateTime<Utc>,
    prebuilds: usize,
    #[serde(flatten)]
    end: RetireEnd,
}

/// The answer of `prebuilds retire`.
#[derive(Debug, Serialize)]
pub(super) struct RetireView {
    dry_run: bool,
    targets: Vec<RetiredTarget>,
}

impl View for RetireView {
    fn text(&self) -> String {
        if self.targets.is_empty() {
            return "no target has been gone from the fleet file for so long\n".to_owned();
        }
        let row = |retired: &RetiredTarget| {
            [
                retired.target.to_string(),
                absolute(retired.gone_since),
                retired.prebuilds.to_string(),
                retired.end.sentence(),
            ]
        };
        format_table(["TARGET", "GONE SINCE", "PREBUILDS", "RESULT"], self.targets.iter().map(row))
    }
}

impl Retirer<'_> {
    /// Retires what is wanted, once somebody has agreed.
    pub(super) async fn retire(
        &self,
        wanted: &Retire,
        output: &mut Output<'_>,
    ) -> Result<Exit, CommandError> {
        let (broker, register) = self.broker.connect_with_register().await?;
        let done = self.retire_with(wanted, &register, output).await;
        broker.close().await;
        done
    }

    async fn retire_with(
        &self,
        wanted: &Retire,
        register: &Register,
        output: &mut Output<'_>,
    ) -> Result<Exit, CommandError> {
        let due = self.find_due(wanted, register)?;
        if !wanted.dry_run && !wanted.yes && !due.is_empty() {
            let prebuilds: usize = due.iter().map(|(retired, _)| retired.prebuilds).sum();
            let question = format!(
                "Withdraw and delete {prebuilds} prebuild(s) of {} target(s) that are gone from the fleet file of {}?",
                due.len(),
                self.fleet
            );
            if output.confirm(&question)? == Answer::No {
                output.print_note("nothing was retired")?;
                return Ok(Exit::Failed);
            }
        }
        let mut targets = Vec::with_capacity(due.len());
        for (retired, gone) in due {
            let end = if wanted.dry_run {
                RetireEnd::WouldBe
            } else {
                retire_one(register, &retired.target, gone).await
            };
            targets.push(RetiredTarget { end, ..retired });
        }
        let failed = targets.iter().any(|retired| matches!(retired.end, RetireEnd::NotRetired { .. }));
        output.print(&RetireView { dry_run: wanted.dry_run, targets })?;
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }

    /// Those that are named, or all that are due, how many it be.
    fn find_due(
        &self,
        wanted: &Retire,
        register: &Register,
    ) -> Result<Vec<(RetiredTarget, EntryVersion)>, CommandError> {
        let load = self.fleet_file.load()?;
        let listed: BTreeSet<Target> = load.targets.iter().map(|(target, _)| target.clone()).collect();
        let states = register.targets();
        let due: Vec<Target> = if wanted.targets.is_empty() {
            if !load.problems.is_empty() {
                return Err(CommandError::usage(
                    "the fleet file has mistakes: what is gone may be one of these; correct it, or name the targets",
                ));
            }
            let due = due_retirements(states.iter().map(AsRef::as_ref), &listed, self.patience, Utc::now());
            due.now.into_iter().chain(due.held).map(|(target, _)| target).collect()
        } else {
            let known = || states.iter().map(|state| state.target.clone()).collect();
            let named = wanted.targets.iter();
            named.map(|name| find_target(name, self.fleet_file, Some(known()))).collect::<Result<_, _>>()?
        };
        let mut found = Vec::new();
        for target in due {
            let gone = register.get(&target).and_then(|state| Some((state.gone?, state.prebuilds().count())));
            let Some((gone, prebuilds)) = gone.filter(|_| !listed.contains(&target)) else {
                return Err(CommandError::usage(format!(
                    "{target} is not known to be gone from the fleet file: the active producer notes that within [keeper] collect"
                )));
            };
            if gone.retired.is_none() {
                let end = RetireEnd::WouldBe;
                found.push((RetiredTarget { target, gone_since: gone.since, prebuilds, end }, gone.entry));
            }
        }
        Ok(found)
    }
}

async fn retire_one(register: &Register, target: &Target, gone: EntryVersion) -> RetireEnd {
    let revocation = Revocation { of: Revoked::Retired { gone }, until: Utc::now() };
    match register.append(target, Concern::Revocation(revocation), REGISTER_READ).await {
        Ok(Folded::Taken) => RetireEnd::Retired,
        Ok(Folded::Refused | Folded::Outdated | Folded::Overtaken) => RetireEnd::CameBack,
        Err(error) => RetireEnd::NotRetired { error: error_chain::line(&error) },
    }
}
