//! The build script, if there is one.

use std::time::Duration;

use job::{Failure, Recipe};

use crate::sandbox::{Environment, Sandbox};

/// How the build went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// It succeeded, or there is none.
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
    let _ = (sandbox, path, recipe, environment, deadline);
    Err(Failure::new(job::FailureKind::Internal, "not yet"))
}
