//! Who installs: what a repository declares before what lies in it, and one winner where lockfiles disagree.

use job::{Failure, FailureKind, PackageManager, PackageManagerKind, Settings, SourceUse};
use nodejs_semver::Version;
use serde_json::Value;

use super::files::Files;
use super::harvest_file::HarvestFile;
use super::releases::Releases;
use super::set_by_hand;
use super::sources::Sources;
use super::version_request::VersionRequest;
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
enum Manager {
    Npm,
    Pnpm,
    /// One that is known by name and cannot be installed.
    Other(&'static str),
}

/// A place that asks for a package manager, or lies there because of one.
#[derive(Debug)]
struct Declaration {
    place: String,
    says: String,
    who: Option<Manager>,
    version: Option<VersionRequest>,
    integrity: Option<String>,
}

/// Who installs, at which version, and whether that is pinned by a hash.
pub(super) fn decide(
    files: &Files,
    settings: &Settings,
    file: &HarvestFile,
    releases: &Releases,
    node: &Version,
    sources: &mut Sources,
) -> Result<PackageManager, Failure> {
    let all = declarations(files, settings, file);
    let winner = all.iter().find_map(|declaration| declaration.who.map(|who| (declaration, who)));
    for declaration in &all {
        let used = match (declaration.who, winner) {
            (None, _) | (Some(_), None) => SourceUse::Unreadable,
            (Some(_), Some((winner, _))) if std::ptr::eq(winner, declaration) => SourceUse::Winner,
            (Some(who), Some((_, winner))) if who == winner => SourceUse::Agrees,
            (Some(_), Some(_)) => SourceUse::Overruled,
        };
        if let (SourceUse::Overruled, Some((winner, _))) = (used, winner) {
            sources.conflict(format!(
                "{} speaks for another package manager than {}, which decides",
                declaration.place, winner.place
            ));
        }
        if used == SourceUse::Unreadable {
            sources.conflict(format!(
                "{} says `{}`, which names no package manager",
                declaration.place, declaration.says
            ));
        }
        sources.note(DECIDES, &declaration.place, &declaration.says, used);
    }
    let Some((winner, who)) = winner else {
        sources.note(DECIDES, "default", "npm", SourceUse::Winner);
        return Ok(npm_of_node());
    };
    match who {
        Manager::Npm => Ok(npm(winner, node, sources)),
        Manager::Pnpm => pnpm(winner, &all, files, releases),
        Manager::Other(name) => {
            if set_by_hand(settings.commands.install.as_ref(), file.commands.install.as_ref()).is_some() {
                sources.conflict(format!(
                    "{name} is not installed; the install command set by hand must bring it"
                ));
                return Ok(npm_of_node());
            }
            let text = format!(
                "{} asks for {name}, and only npm and pnpm are supported so far; set commands.install (and commands.build) in fleet.toml or .harvest.toml",
                winner.place
            );
            Err(Failure::new(FailureKind::DetectUnsupported, text))
        }
    }
}

/// Whether pnpm's version has to be looked up.
pub(super) fn needs_pnpm_releases(files: &Files, settings: &Settings, file: &HarvestFile) -> bool {
    let all = declarations(files, settings, file);
    let Some(winner) = all.iter().find(|declaration| declaration.who.is_some()) else { return false };
    winner.who == Some(Manager::Pnpm)
        && matches!(pnpm_request(winner, &all), Some(request) if !matches!(request, VersionRequest::Exact(_)) && pin(files, request).is_none())
}

fn npm(declaration: &Declaration, node: &Version, sources: &mut Sources) -> PackageManager {
    if let Some(VersionRequest::Exact(version)) = &declaration.version {
        let integrity = declaration.integrity.clone();
        return PackageManager {
            kind: PackageManagerKind::Npm,
            version: Some(version.to_string()),
            integrity,
        };
    }
    if let (Some(request), Ok(own)) = (&declaration.version, npm_of(node.major()).parse::<Version>())
        && !request.allows(&own)
    {
        sources.conflict(format!(
            "{} asks for npm {}, but Node {node} is given its own npm {own}",
            declaration.place, declaration.says
        ));
    }
    npm_of_node()
}

fn pnpm(
    declaration: &Declaration,
    all: &[Declaration],
    files: &Files,
    releases: &Releases,
) -> Result<PackageManager, Failure> {
    let of = |version: String, integrity: Option<String>| PackageManager {
        kind: PackageManagerKind::Pnpm,
        version: Some(version),
        integrity,
    };
    let Some(request) = pnpm_request(declaration, all) else {
        return Ok(of(by_lockfile(files).unwrap_or(PNPM).to_owned(), None));
    };
    if let VersionRequest::Exact(version) = request {
        return Ok(of(version.to_string(), declaration.integrity.clone()));
    }
    if let Some(version) = pin(files, request) {
        return Ok(of(version.to_owned(), None));
    }
    if releases.pnpm.is_empty() {
        return Err(releases.unavailable("pnpm"));
    }
    let plain: Vec<Version> =
        releases.pnpm.iter().filter(|version| version.major() < PNPM_NATIVE).cloned().collect();
    let picked = request.pick_newest(&plain).or_else(|| request.pick_newest(&releases.pnpm));
    picked.map(|version| of(version.to_string(), None)).ok_or_else(|| {
        let text =
            format!("{} asks for pnpm {}, and there is no such version", declaration.place, declaration.says);
        Failure::new(FailureKind::ToolchainVersionUnknown, text)
    })
}

/// The winner's own request, else that of `engines.pnpm`.
fn pnpm_request<'a>(winner: &'a Declaration, all: &'a [Declaration]) -> Option<&'a VersionRequest> {
    let engines = all.iter().find(|declaration| declaration.place == "package.json#engines.pnpm");
    winner.version.as_ref().or_else(|| engines.and_then(|declaration| declaration.version.as_ref()))
}

/// The pinned version that suits both the lockfile and the request.
fn pin(files: &Files, request: &VersionRequest) -> Option<&'static str> {
    let version = by_lockfile(files).unwrap_or(PNPM);
    version.parse().is_ok_and(|parsed| request.allows(&parsed)).then_some(version)
}

fn by_lockfile(files: &Files) -> Option<&'static str> {
    let line =
        files.text("pnpm-lock.yaml")?.lines().find_map(|line| line.strip_prefix("lockfileVersion:"))?;
    let version = line.trim().trim_matches(['\'', '"']);
    PNPM_BY_LOCKFILE.iter().find(|(prefix, _)| version.starts_with(prefix)).map(|(_, pnpm)| *pnpm)
}

fn declarations(files: &Files, settings: &Settings, file: &HarvestFile) -> Vec<Declaration> {
    let mut all = Vec::new();
    let declared = [
        ("settings", settings.toolchain.package_manager.as_deref()),
        (".harvest.toml", file.toolchain.package_manager.as_deref()),
        ("package.json#packageManager", files.package_text("/packageManager")),
    ];
    for (place, says) in declared {
        all.extend(says.map(|says| parse_declaration(place, says)));
    }
    if let Some(entry) = files.package("/devEngines/packageManager") {
        let entry = entry.as_array().and_then(|list| list.first()).unwrap_or(entry);
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
        let version = entry.get("version").and_then(Value::as_str).unwrap_or_default();
        all.push(Declaration::new(
            "package.json#devEngines.packageManager",
            format!("{name}@{version}"),
            manager_of(name),
            VersionRequest::parse(version),
        ));
    }
    for (lockfile, who) in [
        ("pnpm-lock.yaml", Manager::Pnpm),
        ("package-lock.json", Manager::Npm),
        ("npm-shrinkwrap.json", Manager::Npm),
        ("bun.lock", Manager::Other("bun")),
        ("bun.lockb", Manager::Other("bun")),
        ("yarn.lock", Manager::Other("yarn")),
    ] {
        if files.has(lockfile) {
            all.push(Declaration::new(lockfile, "present".to_owned(), Some(who), None));
        }
    }
    for (name, who) in [
        ("pnpm", Manager::Pnpm),
        ("yarn", Manager::Other("yarn")),
        ("bun", Manager::Other("bun")),
        ("npm", Manager::Npm),
    ] {
        if let Some(says) = files.package_text(&format!("/engines/{name}")) {
            all.push(Declaration::new(
                &format!("package.json#engines.{name}"),
                says.to_owned(),
                Some(who),
                VersionRequest::parse(says),
            ));
        }
    }
    all
}

impl Declaration {
    fn new(place: &str, says: String, who: Option<Manager>, version: Option<VersionRequest>) -> Self {
        Self { place: place.to_owned(), says, who, version, integrity: None }
    }
}

/// Reads a text like `pnpm@9.15.4+sha512.…`, as corepack has it.
fn parse_declaration(place: &str, says: &str) -> Declaration {
    let (name, version) = says.trim().split_once('@').unwrap_or((says.trim(), ""));
    let (version, integrity) = match version.split_once('+') {
        Some((version, integrity)) => (version, Some(integrity.to_owned())),
        None => (version, None),
    };
    Declaration {
        integrity,
        ..Declaration::new(place, says.to_owned(), manager_of(name), VersionRequest::parse(version))
    }
}

fn manager_of(name: &str) -> Option<Manager> {
    match name {
        "npm" => Some(Manager::Npm),
        "pnpm" => Some(Manager::Pnpm),
        "yarn" => Some(Manager::Other("yarn")),
        "bun" => Some(Manager::Other("bun")),
        _ => None,
    }
}

/// The npm that comes with the Node that is chosen.
fn npm_of_node() -> PackageManager {
    PackageManager { kind: PackageManagerKind::Npm, version: None, integrity: None }
}
