//! Files of the checkout to a recipe, with every source seen, the one that won, and every disagreement in words.
//!
//! Reading is one short call for a fixed list of small files; deciding is a pure function of what was read, so that every
//! shape of repository is a row of a table. What `.harvest.toml` may set is listed there and nowhere else.

mod commands;
mod files;
mod harvest_file;
mod manager;
mod node;
mod releases;
mod sources;
mod version_request;

#[cfg(test)]
mod tests;

use job::{CheckoutSettings, CommandSetting, Failure, FailureKind, Recipe, Settings, Toolchain};

use self::files::Files;
use self::harvest_file::HarvestFile;
use self::releases::{Lists, Releases};
use self::sources::Sources;
use crate::sandbox::Sandbox;
use crate::stages::toolchain::Mirrors;

/// Files that say that a repository is something this version prepares nothing for.
const FOREIGN: [&str; 12] = [
    "pyproject.toml",
    "requirements.txt",
    "Pipfile",
    "Cargo.toml",
    "go.mod",
    "Gemfile",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "deno.json",
    "mix.exs",
];

/// What the files of a checkout ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// What to run, and which source decided so.
    pub recipe: Recipe,
    /// Checkout settings that `.harvest.toml` adds; check out again with them.
    pub checkout: Option<CheckoutSettings>,
}

/// Reads the checkout at `path` and decides what to run in it.
pub async fn run(
    sandbox: &Sandbox,
    path: &str,
    settings: &Settings,
    mirrors: &Mirrors,
) -> Result<Detected, Failure> {
    let files = files::read(sandbox, path).await?;
    let lists = lists_needed(&files, settings)?;
    let releases = releases::fetch(sandbox, mirrors, lists).await?;
    detect(&files, settings, &releases)
}

fn detect(files: &Files, settings: &Settings, releases: &Releases) -> Result<Detected, Failure> {
    let file = HarvestFile::read(files)?;
    let mut sources = Sources::default();
    let toolchain = toolchain(files, settings, &file, releases, &mut sources)?;
    let install = commands::install(files, settings, &file, &toolchain, &mut sources)?;
    let build = commands::build(files, settings, &file, &toolchain, &mut sources)?;
    let verify = commands::verify(settings, &file, &mut sources);
    let (sources, conflicts) = sources.into_parts();
    let checkout = file.checkout(&settings.checkout);
    Ok(Detected { recipe: Recipe { toolchain, install, build, verify, sources, conflicts }, checkout })
}

/// The lists that the recipe depends on: none when every version is written out.
fn lists_needed(files: &Files, settings: &Settings) -> Result<Lists, Failure> {
    let file = HarvestFile::read(files)?;
    if !needs_node(files, settings, &file) {
        return Ok(Lists::default());
    }
    Ok(Lists {
        node: !node::is_written_out(files, settings, &file),
        pnpm: manager::needs_pnpm_releases(files, settings, &file),
    })
}

fn needs_node(files: &Files, settings: &Settings, file: &HarvestFile) -> bool {
    files.has("package.json") || settings.toolchain.node.is_some() || file.toolchain.node.is_some()
}

fn toolchain(
    files: &Files,
    settings: &Settings,
    file: &HarvestFile,
    releases: &Releases,
    sources: &mut Sources,
) -> Result<Toolchain, Failure> {
    if !needs_node(files, settings, file) {
        if let Some(name) = FOREIGN.iter().find(|name| files.has(name)) {
            sources.conflict(format!(
                "{name} is there, but only Node projects get a toolchain of their own so far; set commands.install and commands.build to prepare this one"
            ));
        }
        return Ok(Toolchain::None);
    }
    let node = node::decide(files, settings, file, releases, sources)?;
    let package_manager = manager::decide(files, settings, file, releases, &node, sources)?;
    Ok(Toolchain::Node { node: node.to_string(), package_manager })
}

/// Whether something with precedence over detection says what to do.
fn set_by_hand<'a>(
    settings: Option<&'a CommandSetting>,
    file: Option<&'a CommandSetting>,
) -> Option<(&'a CommandSetting, &'static str)> {
    settings.map(|set| (set, "settings")).or_else(|| file.map(|set| (set, ".harvest.toml")))
}

fn invalid(message: impl AsRef<str>) -> Failure {
    Failure::new(FailureKind::DetectInvalid, message)
}
