//! Which Node: exact pins of developers before the ranges that libraries keep for their users.

use job::{Failure, FailureKind, Settings, SourceUse};
use nodejs_semver::Version;
use serde_json::Value;

use super::files::Files;
use super::harvest_file::HarvestFile;
use super::releases::Releases;
use super::sources::Sources;
use super::version_request::VersionRequest;

const DECIDES: &str = "node";

/// A place that asks for a version of Node.
struct Declaration {
    place: String,
    says: String,
    request: Option<VersionRequest>,
}

/// The exact version, from the first place that asks for one that makes sense.
pub(super) fn decide(
    files: &Files,
    settings: &Settings,
    file: &HarvestFile,
    releases: &Releases,
    sources: &mut Sources,
) -> Result<Version, Failure> {
    let all = declarations(files, settings, file);
    let winner =
        all.iter().find_map(|declaration| declaration.request.as_ref().map(|request| (declaration, request)));
    let version = match winner {
        Some((declaration, request)) => {
            version(request, &declaration.place, &declaration.says, files, releases)?
        }
        None => version(&VersionRequest::LongTerm(None), "the default", "current LTS", files, releases)?,
    };
    for declaration in &all {
        let used = match &declaration.request {
            None => SourceUse::Unreadable,
            Some(_) if winner.is_some_and(|(winner, _)| std::ptr::eq(winner, declaration)) => {
                SourceUse::Winner
            }
            Some(request) if request.allows(&version) => SourceUse::Agrees,
            Some(_) => SourceUse::Overruled,
        };
        if used == SourceUse::Overruled {
            let by = winner.map_or("the default", |(winner, _)| winner.place.as_str());
            sources.conflict(format!(
                "{} says Node {}, but {by} decides: {version}",
                declaration.place,
                declaration.says.trim()
            ));
        }
        if used == SourceUse::Unreadable {
            sources.conflict(format!(
                "{} says `{}`, which is no Node version",
                declaration.place,
                declaration.says.trim()
            ));
        }
        sources.note(DECIDES, &declaration.place, &declaration.says, used);
    }
    if winner.is_none() {
        sources.note(DECIDES, "default", "current LTS", SourceUse::Winner);
    }
    Ok(version)
}

/// Whether the version needs no list.
pub(super) fn is_written_out(files: &Files, settings: &Settings, file: &HarvestFile) -> bool {
    let request = declarations(files, settings, file).into_iter().find_map(|declaration| declaration.request);
    matches!(request, Some(VersionRequest::Exact(_)))
}

fn version(
    request: &VersionRequest,
    place: &str,
    says: &str,
    files: &Files,
    releases: &Releases,
) -> Result<Version, Failure> {
    if let VersionRequest::Exact(version) = request {
        // Whether there is such a version is the toolchain stage's business, which needs no list.
        return Ok(version.clone());
    }
    if releases.node.is_empty() {
        let here =
            files.node_here.as_deref().and_then(|text| text.trim_start_matches('v').parse::<Version>().ok());
        return here.filter(|version| request.allows(version)).ok_or_else(|| releases.unavailable("Node"));
    }
    request.pick(&releases.node).ok_or_else(|| {
        let text = format!("{place} asks for Node {}, and there is no such version", says.trim());
        Failure::new(FailureKind::ToolchainVersionUnknown, text)
    })
}

/// Everything that says something, in the order of precedence.
fn declarations(files: &Files, settings: &Settings, file: &HarvestFile) -> Vec<Declaration> {
    let mut all = Vec::new();
    let mut declare = |place: &str, says: Option<&str>| {
        if let Some(says) = says.filter(|says| !says.trim().is_empty()) {
            all.push(Declaration {
                place: place.to_owned(),
                says: says.to_owned(),
                request: VersionRequest::parse(says),
            });
        }
    };
    declare("settings", settings.toolchain.node.as_deref());
    declare(".harvest.toml", file.toolchain.node.as_deref());
    declare(".node-version", files.text(".node-version").and_then(first_line));
    declare(".nvmrc", files.text(".nvmrc").and_then(first_line));
    declare(".tool-versions", files.text(".tool-versions").and_then(tool_versions));
    for name in ["mise.toml", ".mise.toml"] {
        declare(name, files.text(name).and_then(mise).as_deref());
    }
    declare("package.json#volta.node", files.package_text("/volta/node"));
    let runtime = files.package("/devEngines/runtime").and_then(runtime);
    let exact = |says: &&str| matches!(VersionRequest::parse(says), Some(VersionRequest::Exact(_)));
    declare("package.json#devEngines.runtime", runtime.filter(exact));
    declare("package.json#engines.node", files.package_text("/engines/node"));
    declare("package.json#devEngines.runtime", runtime.filter(|says| !exact(says)));
    declare("Dockerfile", files.text("Dockerfile").and_then(from_node));
    all
}

fn first_line(text: &str) -> Option<&str> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line).trim())
        .find(|line| !line.is_empty())
}

fn tool_versions(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        matches!(words.next(), Some("nodejs" | "node")).then(|| words.next()).flatten()
    })
}

/// `[tools] node = "22"`, a list of them (the first counts), or a table with a version.
fn mise(text: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let tools = table.get("tools")?;
    let node = tools.get("node").or_else(|| tools.get("nodejs"))?;
    let node = node.as_array().and_then(|list| list.first()).unwrap_or(node);
    node.get("version").unwrap_or(node).as_str().map(str::to_owned)
}

/// `{name, version}`, or a list of them.
fn runtime(value: &Value) -> Option<&str> {
    let entries = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let node = entries.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("node"))?;
    node.get("version").and_then(Value::as_str)
}

/// The tag of the first `FROM node:…` without what comes after its version (`20.11.1-bookworm-slim`).
fn from_node(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if !words.next()?.eq_ignore_ascii_case("from") {
            return None;
        }
        let image = words.find(|word| !word.starts_with("--"))?;
        let (name, tag) = image.split('@').next()?.rsplit_once(':')?;
        let node = name == "node" || name.ends_with("/node");
        let version = tag.split('-').next()?;
        (node && version.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
    })
}
