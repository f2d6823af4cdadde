//! The build script, if there is one. Where the repository itself is to blame, what is installed is still worth having.

use std::time::Duration;

use job::{Blame, CommandStep, Failure, Recipe, Stage};

use super::install::command_environment;
use crate::failures::from_build;
use crate::sandbox::{Environment, FinishedCommand, LongCommand, Sandbox};

/// What the build script left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// It succeeded, or there is no script.
    Complete,
    /// It failed and that is the repository's own doing: dependencies are in.
    Partial(Failure),
}

/// Runs the recipe's build in the checkout at `path`.
pub async fn run(
    sandbox: &Sandbox,
    path: &str,
    recipe: &Recipe,
    environment: &Environment,
    deadline: Duration,
) -> Result<Built, Failure> {
    let CommandStep::Run { command, .. } = &recipe.build else { return Ok(Built::Complete) };
    let long = LongCommand {
        stage: Stage::Build,
        label: "build",
        script: command.clone(),
        cwd: path.to_owned(),
        environment: command_environment(environment, &recipe.toolchain),
        deadline,
    };
    let end = sandbox.run(&long).await?;
    let FinishedCommand { code, tail } = end.into_finished(&long, sandbox.least_free_bytes())?;
    if code == 0 {
        return Ok(Built::Complete);
    }
    let failure = from_build(&tail).with_output(Some(code), tail);
    match failure.blame() {
        Blame::Repository => Ok(Built::Partial(failure)),
        Blame::Upstream | Blame::Capacity | Blame::Resources | Blame::Configuration | Blame::Ours => {
            Err(failure)
        }
    }
}
