//! What a tick would publish, without a broker.

use std::io::{self, Write};
use std::path::PathBuf;

use account::{Holding, Need};
use daytona::BaseIds;
use job::{AccountState, Tick};
use settings::{FleetFile, Problem, Problems};
use thiserror::Error;

use crate::plan::plan_jobs;
use crate::{Clock, PlanSettings};

/// Why nothing could be shown.
#[derive(Debug, Error)]
pub enum DryRunError {
    /// The fleet file cannot be understood.
    #[error(transparent)]
    FleetFile(#[from] Problems),
    /// Nobody takes the output.
    #[error("cannot write the jobs")]
    Output(#[source] io::Error),
}

/// What a dry run found of the fleet file, beside its jobs.
#[derive(Debug)]
pub struct DryRun {
    /// Entries that have no job, and why.
    pub problems: Vec<Problem>,
    /// Whether the limits can hold the fleet.
    pub holding: Holding,
}

/// Writes the jobs of the current tick, one JSON per line, in the file's order (ages are the register's to know, bases
/// and their sizes Daytona's).
pub fn dry_run(
    settings: &PlanSettings,
    fleet_file: Option<PathBuf>,
    clock: &Clock,
    output: &mut impl Write,
) -> Result<DryRun, DryRunError> {
    let load = FleetFile::load(fleet_file.unwrap_or_else(|| settings.fleet_file.clone()))?;
    let tick = Tick::at_or_before(clock.now(), load.every);
    for job in plan_jobs(&settings.fleet, tick, &load.targets, &BaseIds::default(), |_| None) {
        let mut line = job.encode();
        line.push(b'\n');
        output.write_all(&line).map_err(DryRunError::Output)?;
    }
    output.flush().map_err(DryRunError::Output)?;
    let need = Need::of(&load.targets, None);
    let holding = Holding::judge(need, &settings.quota, &AccountState::default(), clock.now());
    Ok(DryRun { problems: load.problems, holding })
}

#[cfg(test)]
mod tests {
    use job::{Job, Reason};
    use settings::{DEFAULT_EVERY, Environment};

    use super::*;

    #[test]
    fn the_shipped_fleet_file_has_three_jobs_of_one_tick() {
        let settings =
            PlanSettings::load(&Environment::from_pairs([("HARVEST_FLEET", "demo")]), None).unwrap();
        let shipped = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/fleet.toml"));
        let clock = Clock::new(|| "2026-11-23T10:42:07Z".parse().unwrap());
        let mut output = Vec::new();
        let found = dry_run(&settings, Some(shipped), &clock, &mut output).unwrap();
        assert_eq!(found.problems, []);
        assert!(matches!(found.holding, Holding::Unknown(_)), "{found:?}");
        let jobs: Vec<Job> = String::from_utf8(output)
            .unwrap()
            .lines()
            .map(|line| Job::decode(line.as_bytes(), &settings.fleet).unwrap())
            .collect();
        let targets: Vec<String> = jobs.iter().map(|job| job.target.to_string()).collect();
        assert_eq!(
            targets,
            ["chat-app", "api-node", "app"].map(|name| format!("RelevanceAI/relevance-{name}@main"))
        );
        let tick = Tick::at_or_before("2026-11-23T10:30:00Z".parse().unwrap(), DEFAULT_EVERY);
        assert!(jobs.iter().all(|job| job.reason == Reason::Scheduled { tick }), "{jobs:?}");
    }
}
