//! The commands, one file each, and which of them runs.
//!
//! A command takes what it uses of the fleet's services and answers a value; here it is printed. What is printed while a
//! command waits, or asks, it prints itself.

mod dead_letters;
mod doctor;
mod explain;
mod pause;
mod prebuilds;
mod resolve;
mod status;
mod submit;

use lifecycle::Shutdown;
use settings::{Environment, Problems};

use crate::OperatorSettings;
use crate::cli::{Arguments, Command};
use crate::error::{CommandError, Exit};
use crate::output::{Format, Output, View};
use crate::services::Services;
use crate::terminal::Terminal;

/// Runs the command that the arguments name.
pub(crate) async fn run(
    arguments: Arguments,
    settings: Result<OperatorSettings, Problems>,
    environment: &Environment,
    terminal: &mut Terminal,
    shutdown: &Shutdown,
) -> Result<Exit, CommandError> {
    let format = if arguments.json { Format::Json } else { Format::Text };
    let mut output = Output::new(terminal, format);
    let services = settings.map(|settings| Services::new(settings, environment, arguments.fleet_file));
    let services = match (services, &arguments.command) {
        (Ok(services), _) => services,
        // Wrong settings are among what it looks for.
        (Err(problems), Command::Doctor(_)) => {
            return answer_doctor(&doctor::report_settings(&problems), &mut output);
        }
        (Err(problems), _) => return Err(CommandError::usage(problems)),
    };
    let Services { fleet, fleet_file, broker, daytona, git_hosts, acts, quota, gone } = &services;
    let gone = *gone;
    match arguments.command {
        Command::Doctor(asked) => {
            let worker_config = asked.worker_config.as_deref();
            let doctor = doctor::Doctor {
                fleet,
                fleet_file,
                quota,
                broker,
                daytona,
                git_hosts,
                environment,
                worker_config,
            };
            let view = until_interrupted(shutdown, async { Ok(Box::pin(doctor.check_all()).await) }).await?;
            answer_doctor(&view, &mut output)
        }
        // Waits on its own terms: what it published goes on, and it says so.
        Command::Submit(submit) => {
            let submitter = submit::Submitter { fleet, fleet_file, broker, daytona, acts };
            submitter.submit(&submit, &mut output, shutdown).await
        }
        // Never left in the middle: each replayed letter is settled or untouched.
        Command::DeadLetters(command) => {
            let dead_letters = dead_letters::DeadLetterCommands { fleet, fleet_file, broker, daytona, acts };
            dead_letters.run(&command, &mut output, shutdown).await
        }
        Command::Prebuilds(command) => {
            let prebuilds = prebuilds::PrebuildCommands { fleet, fleet_file, broker, daytona, acts, gone };
            prebuilds.run(&command, &mut output, shutdown).await
        }
        // Short, and never left between two targets.
        Command::Pause(wanted) => {
            let pauser = pause::Pauser { fleet_file, broker, acts };
            answer_pause(&pauser.pause(&wanted).await?, &mut output)
        }
        Command::Resume(wanted) => {
            let pauser = pause::Pauser { fleet_file, broker, acts };
            answer_pause(&pauser.resume(&wanted).await?, &mut output)
        }
        Command::Status => {
            let status = status::read_status(fleet, fleet_file, broker, gone);
            answer(&until_interrupted(shutdown, status).await?, &mut output)
        }
        Command::Resolve(one) => {
            let resolver = resolve::Resolver { fleet, fleet_file, broker, daytona };
            answer(&until_interrupted(shutdown, resolver.resolve(&one.target)).await?, &mut output)
        }
        Command::Explain(one) => {
            let explainer = explain::Explainer { fleet, fleet_file, broker, daytona, git_hosts, gone };
            answer(&until_interrupted(shutdown, Box::pin(explainer.explain(&one.target))).await?, &mut output)
        }
    }
}

fn answer(view: &impl View, output: &mut Output<'_>) -> Result<Exit, CommandError> {
    output.print(view)?;
    Ok(Exit::Done)
}

fn answer_pause(view: &pause::PauseView, output: &mut Output<'_>) -> Result<Exit, CommandError> {
    output.print(view)?;
    Ok(if view.is_done() { Exit::Done } else { Exit::Failed })
}

fn answer_doctor(view: &doctor::DoctorView, output: &mut Output<'_>) -> Result<Exit, CommandError> {
    output.print(view)?;
    Ok(if view.ok { Exit::Done } else { Exit::Failed })
}

/// For commands that only read: an interrupt ends them where they are.
async fn until_interrupted<T>(
    shutdown: &Shutdown,
    command: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    tokio::select! {
        ended = command => ended,
        () = shutdown.draining().cancelled() => Err(CommandError::Failed(anyhow::anyhow!("interrupted"))),
    }
}
