//! The command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use account::Holding;
use clap::{Parser, Subcommand};
use settings::{EnvFileError, Problem, Problems};

/// The clock of Harvest Fleet: at every tick, one job for each repository in the fleet file.
///
/// Run any number of them: one is active, another takes over within seconds. SIGTERM ends it in order, SIGHUP reads the
/// fleet file at once (it is looked at every few seconds anyway). Settings come from the shipped defaults, --config, and
/// the environment or ./.env; HARVEST_FLEET and AMQP_URL are required.
#[derive(Debug, Parser)]
#[command(name = "producer", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Settings that differ from the defaults (see config/producer.toml)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Which repositories, instead of the settings' fleet_file
    #[arg(long, value_name = "FILE")]
    pub fleet_file: Option<PathBuf>,

    /// Fire the current tick now, print what was published, and end
    #[arg(long)]
    pub once: bool,

    /// Print the jobs that the current tick has, one JSON per line, and whether the limits of `[quota]` can hold the fleet;
    /// publish nothing. Needs neither RabbitMQ nor Daytona
    #[arg(long)]
    pub dry_run: bool,

    /// Something else than running
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or with --once another producer is active, or with --dry-run an entry \
                          is wrong; 2 wrong settings or arguments; 3 with --once the tick was skipped";

/// `--once`: there was no room for the tick.
pub(crate) const SKIPPED: u8 = 3;
const WRONG_SETTINGS: u8 = 2;

/// Prints why the program ends. The exit code says it to programs.
pub fn report_error(error: &anyhow::Error) -> ExitCode {
    print_line(format_args!("producer: {error:#}"));
    let wrong_settings = error.is::<Problems>() || error.is::<EnvFileError>();
    if wrong_settings { ExitCode::from(WRONG_SETTINGS) } else { ExitCode::FAILURE }
}

/// Prints whether the limits can hold the fleet. That they cannot fails no dry run: whatever there is room for is built.
pub fn report_holding(holding: &Holding) {
    match holding {
        Holding::Unknown(sentence) => print_line(format_args!("limits: {sentence}")),
        Holding::Enough(sentence) => print_line(format_args!("limits: enough; {sentence}")),
        Holding::TooLittle(sentences) => {
            for sentence in sentences {
                print_line(format_args!("limits: too little; {sentence}"));
            }
        }
    }
}

/// Prints which entries of the fleet file have no job. They fail a dry run, which is how a file is checked.
pub fn report_problems(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        print_line(format_args!("{problem}"));
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_line(text: std::fmt::Arguments<'_>) {
    // Nobody is left to read that nobody reads.
    drop(writeln!(std::io::stderr(), "{}", telemetry::visible(&text.to_string())));
}

/// Something else than running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a running producer how it is; succeeds when it is well
    Healthcheck {
        #[arg(long, help = "Where it answers", default_value = "http://127.0.0.1:8080/healthz")]
        url: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
