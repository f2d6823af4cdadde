//! Dependencies, by the lockfile where there is one.

use std::time::Duration;

use job::{Failure, LockfileHash, Recipe};

use crate::sandbox::{Environment, Sandbox};

/// What was installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// What a session should know: `degraded.lockfile`, `degraded.no_lockfile`.
    pub flags: Vec<String>,
    /// The lockfiles it was installed from.
    pub lockfiles: Vec<LockfileHash>,
}

/// Installs what the recipe says into the checkout at `path`.
pub async fn run(
    sandbox: &Sandbox,
    path: &str,
    recipe: &Recipe,
    environment: &Environment,
    deadline: Duration,
) -> Result<Installed, Failure> {
    let _ = (sandbox, path, recipe, environment, deadline);
    Err(Failure::new(job::FailureKind::Internal, "not yet"))
}
