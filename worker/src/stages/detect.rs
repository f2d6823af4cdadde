//! Files of the checkout to a recipe, with every source seen.

use job::{CheckoutSettings, Failure, Recipe, Settings};

use crate::sandbox::Sandbox;
use crate::stages::toolchain::Mirrors;

/// What the checkout asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// What to run, and why.
    pub recipe: Recipe,
    /// Checkout settings that `.harvest.toml` adds; check out again with them.
    pub checkout: Option<CheckoutSettings>,
}

/// Reads the checkout at `path` and decides what to run in it.
pub async fn run(sandbox: &Sandbox, path: &str, settings: &Settings, mirrors: &Mirrors) -> Result<Detected, Failure> {
    let _ = (sandbox, path, settings, mirrors);
    Err(Failure::new(job::FailureKind::Internal, "not yet"))
}
