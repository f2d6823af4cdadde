//! The command line. Every command takes `--json`; what it prints then is part of the interface, see README.md.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use job::PrebuildName;

/// Looks at and works on one fleet of Harvest Fleet.
///
/// Reads the producer's settings: the shipped defaults, --config, and the environment or ./.env. HARVEST_FLEET and
/// AMQP_URL are required; DAYTONA_API_KEY is used where there is one.
#[derive(Debug, Parser)]
#[command(name = "harvestctl", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Settings that differ from the defaults (see config/producer.toml)
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Which repositories, instead of the settings' fleet_file
    #[arg(long, value_name = "FILE", global = true)]
    pub fleet_file: Option<PathBuf>,

    /// Print JSON: one document, or one per line where a command waits
    #[arg(long, global = true)]
    pub json: bool,

    /// Log what happens underneath to stderr
    #[arg(short, long, global = true)]
    pub verbose: bool,

    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or what was waited for failed; 2 wrong arguments or settings; \
                          3 not found";

/// What harvestctl is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every target: its prebuild, its last outcome, what stands in its way
    Status,
    /// Build targets now, ahead of the schedule
    Submit(Submit),
    /// Say which snapshot a session of a target should start from
    Resolve(One),
    /// Tell everything about one target, and what the next tick will do with it
    Explain(One),
    /// Work through the jobs that failed for good
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Look at prebuilds, and withdraw those that must not be used any more
    #[command(subcommand)]
    Prebuilds(Prebuilds),
    /// Begin no build of targets for a while; sessions are given what is promoted as before
    ///
    /// A build that has begun goes on, and is promoted.
    Pause(PauseTargets),
    /// Let paused targets be built again
    Resume(ResumeTargets),
    /// Check everything the fleet needs, and say what to do where something is wrong
    Doctor(Doctor),
}

/// What else the doctor looks at.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The workers' settings (worker.toml): whether their rules give each target the secrets that it asks for
    #[arg(long, value_name = "FILE")]
    pub worker_config: Option<PathBuf>,
}

/// Which targets to build, and how.
#[derive(Debug, Default, Args)]
pub struct Submit {
    /// owner/name, or owner/name@branch, as in fleet.toml
    #[arg(value_name = "TARGET", required_unless_present = "all", conflicts_with = "all")]
    pub targets: Vec<String>,

    /// Every target of fleet.toml
    #[arg(long)]
    pub all: bool,

    /// Show each attempt as it happens, and succeed only when every target did
    #[arg(long)]
    pub wait: bool,

    /// Try again what failed for good at the same commit
    #[arg(long)]
    pub force: bool,

    /// Stop waiting after this long (90s, 30m, 1h 30m); the jobs go on
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

/// Which targets to pause, and why.
#[derive(Debug, Args)]
pub struct PauseTargets {
    #[arg(value_name = "TARGET", required = true, help = "owner/name, or owner/name@branch")]
    pub targets: Vec<String>,

    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,

    /// It ends by itself at this time (2026-11-27T10:00:00Z), or after so long (2h)
    #[arg(long, value_name = "TIME", value_parser = time_to_come)]
    pub until: Option<DateTime<Utc>>,
}

/// Which targets to resume.
#[derive(Debug, Args)]
pub struct ResumeTargets {
    #[arg(value_name = "TARGET", required = true, help = "owner/name, or owner/name@branch")]
    pub targets: Vec<String>,
}

/// The target that is asked about.
#[derive(Debug, Args)]
pub struct One {
    #[arg(value_name = "TARGET", help = "owner/name, or owner/name@branch")]
    pub target: String,
}

/// What to do with the dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List them, oldest first
    List,
    /// Tell the whole story of one
    Show {
        /// Its id in the list, or the beginning of its job's id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send jobs again: at once, past an earlier permanent failure, with the settings that fleet.toml has now
    Replay(Replay),
}

/// Which dead letters to send again.
#[derive(Debug, Args)]
pub struct Replay {
    /// Ids in the list, or the beginnings of job ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,

    #[arg(long, help = "Every one")]
    pub all: bool,

    /// With the settings recorded in the job, not those of fleet.toml
    #[arg(long)]
    pub as_recorded: bool,

    #[arg(short, long, help = "Do not ask")]
    pub yes: bool,
}

/// What to do with prebuilds.
#[derive(Debug, Subcommand)]
pub enum Prebuilds {
    /// List those that are promoted, kept or captured, with their age and the secrets they were built with
    List {
        #[arg(
            value_name = "TARGET",
            help = "owner/name, or owner/name@branch; every target where it is left out"
        )]
        target: Option<String>,
    },
    /// Give sessions a prebuild that is kept from before
    ///
    /// The next tick builds the branch's head again, unless the target is paused.
    Promote(PromotePrebuild),
    /// Withdraw what was built with a secret that leaked, or since a time: delete it, and build it anew
    ///
    /// Give the workers the secret's new value first: what attempts that began before this command build is withdrawn too,
    /// what later ones build is not.
    Revoke(Revoke),
    /// Remove the prebuilds of targets that are gone from the fleet file, without waiting for the day the active producer would
    ///
    /// It does so by itself after [keeper] gone, and never for more than a tenth of the fleet in a day.
    Retire(Retire),
}

/// Which targets' prebuilds to remove.
#[derive(Debug, Args)]
pub struct Retire {
    #[arg(
        value_name = "TARGET",
        help = "owner/name, or owner/name@branch; all that are due where none is named"
    )]
    pub targets: Vec<String>,

    /// Show what would be removed, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    #[arg(short, long, help = "Do not ask")]
    pub yes: bool,
}

/// Which prebuild to promote.
#[derive(Debug, Args)]
pub struct PromotePrebuild {
    /// Its whole name, as `prebuilds list` shows it
    #[arg(value_name = "NAME")]
    pub name: PrebuildName,

    #[arg(short, long, help = "Do not ask")]
    pub yes: bool,
}

/// Which prebuilds to withdraw.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Those that were built with the secret of this name, and those of which that is not known
    #[arg(long, value_name = "NAME", required_unless_present = "since", conflicts_with = "since")]
    pub secret: Option<String>,

    /// Those that were built at this time (2026-11-27T10:00:00Z) or that long ago (2h), or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<DateTime<Utc>>,

    /// Show what would be withdrawn, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    #[arg(short, long, help = "Do not ask")]
    pub yes: bool,
}

/// A text that is no time.
#[derive(Debug, thiserror::Error)]
#[error("neither a time (2026-11-27T10:00:00Z) nor how long ago (2h, 3days)")]
struct NoTime;

fn time(text: &str) -> Result<DateTime<Utc>, NoTime> {
    let ago = || humantime::parse_duration(text).ok().and_then(|ago| chrono::Duration::from_std(ago).ok());
    text.parse().ok().or_else(|| Utc::now().checked_sub_signed(ago()?)).ok_or(NoTime)
}

fn time_to_come(text: &str) -> Result<DateTime<Utc>, NoTimeToCome> {
    let after =
        || humantime::parse_duration(text).ok().and_then(|after| chrono::Duration::from_std(after).ok());
    text.parse().ok().or_else(|| Utc::now().checked_add_signed(after()?)).ok_or(NoTimeToCome)
}

/// A text that is no time to come.
#[derive(Debug, thiserror::Error)]
#[error("neither a time (2026-11-27T10:00:00Z) nor how long (2h, 3days)")]
struct NoTimeToCome;

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_acts_on_many_must_be_said() {
        for wrong in [
            "harvestctl submit",
            "harvestctl submit --all o/n",
            "harvestctl submit o/n --timeout 5m",
            "harvestctl submit o/n --wait --timeout soon",
            "harvestctl dead-letters replay",
            "harvestctl dead-letters replay --all abc",
            "harvestctl resolve",
            "harvestctl prebuilds revoke --yes",
            "harvestctl prebuilds revoke --secret NPM_TOKEN --since 2h",
            "harvestctl prebuilds revoke --since soon",
            "harvestctl pause o/n",
            "harvestctl pause --reason why",
            "harvestctl pause o/n --reason why --until soon",
            "harvestctl resume",
            "harvestctl prebuilds promote no-prebuild",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
        for right in [
            "harvestctl submit --all --wait --timeout 30m",
            "harvestctl submit o/n o/m@dev --force --json",
            "harvestctl --json dead-letters replay --all --yes --as-recorded",
            "harvestctl prebuilds list",
            "harvestctl pause o/n o/m@dev --reason why --until 2h",
            "harvestctl pause o/n --reason why --until 2026-11-27T10:00:00Z --json",
            "harvestctl resume o/n",
            "harvestctl prebuilds revoke --secret NPM_TOKEN --dry-run",
            "harvestctl prebuilds revoke --since 2026-11-27T10:00:00Z --yes",
            "harvestctl prebuilds revoke --since 90m",
            "harvestctl prebuilds retire --dry-run",
            "harvestctl prebuilds retire o/n o/m@dev --yes",
        ] {
            parse(right).unwrap();
        }
    }
}
