//! Who installs: what a repository declares before what lies in it, and one winner where lockfiles disagree.

use job::{Failure, FailureKind, PackageManager, PackageManagerKind, Settings, SourceUse};
use nodejs_semver::Version;
use serde_json::Value;

use super::files::Files;
use super::harvest_file::HarvestFile;
use super::releases::{Releases, Wish};
use super::sources::Sources;
use super::{npm_of_node, set_by_hand};
use crate::stages::toolchain::npm_of;

const DECIDES: &str = "package_manager";
/// The pnpm for each version of its lockfile: the newest that writes it, except that 9.0 is written by 9, 10 and later.
const PNPM_BY_LOCKFILE: [(&str, &str); 4] =
    [("5.3", "6.35.1"), ("5.4", "7.33.7"), ("6.", "8.15.9"), ("9.", "10.34.9")];
/// What a repository gets that says pnpm and nothing more.
const PNPM: &str = "10.34.9";
/// From this major on pnpm is a native program that mirrors may lack; taken only when it is asked for by name.
const PNPM_NATIVE: u64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Npm,
    Pnpm,
    /// Known, but not supported.
    Other(&'static str),
}

#[derive(Debug)]
struct Said {
    place: String,
    says: String,
    who: Option<Named>,
    version: Option<Wish>,
    integrity: Option<String>,
}

/// Who installs, at which version.
pub(super) fn decide(
    files: &Files,
    settings: &Settings,
    file: &HarvestFile,
    releases: &Releases,
    node: &Version,
    sources: &mut Sources,
) -> Result<PackageManager, Failure> {
    let all = said(files, settings, file);
    let winner = all.iter().find_map(|said| said.who.map(|who| (said, who)));
    for said in &all {
        let used = match (said.who, winner) {
            (None, _) | (Some(_), None) => SourceUse::Unreadable,
            (Some(_), Some((winner, _))) if std::ptr::eq(winner, said) => SourceUse::Winner,
            (Some(who), Some((_, winner))) if who == winner => SourceUse::Agrees,
            (Some(_), Some(_)) => SourceUse::Overruled,
        };
        if let (SourceUse::Overruled, Some((winner, _))) = (used, winner) {
            sources.conflict(format!(
                "{} speaks for another package manager than {}, which decides",
                said.place, winner.place
            ));
        }
        if used == SourceUse::Unreadable {
            sources.conflict(format!("{} says `{}`, which names no package manager", said.place, said.says));
        }
        sources.note(DECIDES, &said.place, &said.says, used);
    }
    let Some((said, who)) = winner else {
        sources.note(DECIDES, "default", "npm", SourceUse::Winner);
        return Ok(npm_of_node());
    };
    match who {
        Named::Npm => Ok(npm(said, node, sources)),
        Named::Pnpm => pnpm(said, &all, files, releases),
        Named::Other(name) => {
            if set_by_hand(settings.commands.install.as_ref(), file.commands.install.as_ref()).is_some() {
                sources.conflict(format!(
                    "{name} is not installed; the install command set by hand must bring it"
                ));
                return Ok(npm_of_node());
            }
            let text = format!(
                "{} asks for {name}, and only npm and pnpm are supported so far; set commands.install (and commands.build) in fleet.toml or .harvest.toml",
                said.place
            );
            Err(Failure::new(FailureKind::DetectUnsupported, text))
        }
    }
}

/// Whether pnpm's version has to be looked up.
pub(super) fn needs_pnpm_releases(files: &Files, settings: &Settings, file: &HarvestFile) -> bool {
    let all = said(files, settings, file);
    let Some(winner) = all.iter().find(|said| said.who.is_some()) else { return false };
    winner.who == Some(Named::Pnpm)
        && matches!(wish_of_pnpm(winner, &all), Some(wish) if !matches!(wish, Wish::Exact(_)) && pinned(files, wish).is_none())
}

fn npm(said: &Said, node: &Version, sources: &mut Sources) -> PackageManager {
    if let Some(Wish::Exact(version)) = &said.version {
        let integrity = said.integrity.clone();
        return PackageManager {
            kind: PackageManagerKind::Npm,
            version: Some(version.to_string()),
            integrity,
        };
    }
    if let (Some(wish), Ok(own)) = (&said.version, npm_of(node.major()).parse::<Version>())
        && !wish.allows(&own)
    {
        sources.conflict(format!(
            "{} asks for npm {}, but Node {node} is given its own npm {own}",
            said.place, said.says
        ));
    }
    npm_of_node()
}

fn pnpm(said: &Said, all: &[Said], files: &Files, releases: &Releases) -> Result<PackageManager, Failure> {
    let of = |version: String, integrity: Option<String>| PackageManager {
        kind: PackageManagerKind::Pnpm,
        version: Some(version),
        integrity,
    };
    let Some(wish) = wish_of_pnpm(said, all) else {
        return Ok(of(by_lockfile(files).unwrap_or(PNPM).to_owned(), None));
    };
    if let Wish::Exact(version) = wish {
        return Ok(of(version.to_string(), said.integrity.clone()));
    }
    if let Some(version) = pinned(files, wish) {
        return Ok(of(version.to_owned(), None));
    }
    if releases.pnpm.is_empty() {
        return Err(releases.unavailable("pnpm"));
    }
    let plain: Vec<Version> =
        releases.pnpm.iter().filter(|version| version.major() < PNPM_NATIVE).cloned().collect();
    let picked = wish.pick_newest(&plain).or_else(|| wish.pick_newest(&releases.pnpm));
    picked.map(|version| of(version.to_string(), None)).ok_or_else(|| {
        let text = format!("{} asks for pnpm {}, and there is no such version", said.place, said.says);
        Failure::new(FailureKind::ToolchainVersionUnknown, text)
    })
}

/// The winner's own wish, else that of `engines.pnpm`.
fn wish_of_pnpm<'a>(winner: &'a Said, all: &'a [Said]) -> Option<&'a Wish> {
    let engines = all.iter().find(|said| said.place == "package.json#engines.pnpm");
    winner.version.as_ref().or_else(|| engines.and_then(|said| said.version.as_ref()))
}

/// The pinned version that suits both the lockfile and the wish.
fn pinned(files: &Files, wish: &Wish) -> Option<&'static str> {
    let version = by_lockfile(files).unwrap_or(PNPM);
    version.parse().is_ok_and(|parsed| wish.allows(&parsed)).then_some(version)
}

fn by_lockfile(files: &Files) -> Option<&'static str> {
    let line =
        files.text("pnpm-lock.yaml")?.lines().find_map(|line| line.strip_prefix("lockfileVersion:"))?;
    let version = line.trim().trim_matches(['\'', '"']);
    PNPM_BY_LOCKFILE.iter().find(|(prefix, _)| version.starts_with(prefix)).map(|(_, pnpm)| *pnpm)
}

fn said(files: &Files, settings: &Settings, file: &HarvestFile) -> Vec<Said> {
    let mut all = Vec::new();
    let declared = [
        ("settings", settings.toolchain.package_manager.as_deref()),
        (".harvest.toml", file.toolchain.package_manager.as_deref()),
        ("package.json#packageManager", files.package_text("/packageManager")),
    ];
    for (place, says) in declared {
        all.extend(says.map(|says| declaration(place, says)));
    }
    if let Some(entry) = files.package("/devEngines/packageManager") {
        let entry = entry.as_array().and_then(|list| list.first()).unwrap_or(entry);
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
        let version = entry.get("version").and_then(Value::as_str).unwrap_or_default();
        all.push(one(
            "package.json#devEngines.packageManager",
            format!("{name}@{version}"),
            named(name),
            Wish::parse(version),
        ));
    }
    for (lockfile, who) in [
        ("pnpm-lock.yaml", Named::Pnpm),
        ("package-lock.json", Named::Npm),
        ("npm-shrinkwrap.json", Named::Npm),
        ("bun.lock", Named::Other("bun")),
        ("bun.lockb", Named::Other("bun")),
        ("yarn.lock", Named::Other("yarn")),
    ] {
        if files.has(lockfile) {
            all.push(one(lockfile, "present".to_owned(), Some(who), None));
        }
    }
    for (name, who) in [
        ("pnpm", Named::Pnpm),
        ("yarn", Named::Other("yarn")),
        ("bun", Named::Other("bun")),
        ("npm", Named::Npm),
    ] {
        if let Some(says) = files.package_text(&format!("/engines/{name}")) {
            all.push(one(
                &format!("package.json#engines.{name}"),
                says.to_owned(),
                Some(who),
                Wish::parse(says),
            ));
        }
    }
    all
}

fn one(place: &str, says: String, who: Option<Named>, version: Option<Wish>) -> Said {
    Said { place: place.to_owned(), says, who, version, integrity: None }
}

/// `pnpm@9.15.4+sha512.…`
fn declaration(place: &str, says: &str) -> Said {
    let (name, version) = says.trim().split_once('@').unwrap_or((says.trim(), ""));
    let (version, integrity) = match version.split_once('+') {
        Some((version, integrity)) => (version, Some(integrity.to_owned())),
        None => (version, None),
    };
    Said { integrity, ..one(place, says.to_owned(), named(name), Wish::parse(version)) }
}

fn named(name: &str) -> Option<Named> {
    match name {
        "npm" => Some(Named::Npm),
        "pnpm" => Some(Named::Pnpm),
        "yarn" => Some(Named::Other("yarn")),
        "bun" => Some(Named::Other("bun")),
        _ => None,
    }
}
