//! The rules for single values of fleet.toml. Each says what would be right; none repeats the value.

use std::time::Duration;

use job::{CommandSetting, DEFAULT_HOST, InvalidTarget, RepositoryUrl, Target, UrlScheme};
use toml::de::DeValue;
use url::Url;

use super::layer::Level;
use crate::problem::Mistake;
use crate::secrets::{is_variable_name, name_looks_secret, reserved, value_looks_secret};

/// Why a value is refused.
pub(super) enum Refusal {
    /// It breaks this rule.
    Rule(&'static str),
    /// For a reason that has a name of its own.
    Mistake(Mistake),
}

impl Refusal {
    pub(super) fn for_key(self, key: &str) -> Mistake {
        match self {
            Self::Rule(rule) => Mistake::Rule { key: key.to_owned(), rule },
            Self::Mistake(mistake) => mistake,
        }
    }
}

/// `owner/name` or `host/owner/name` at a branch. The branch may hold an `@`, the name may not.
pub(super) fn target(name: &str, branch: &str) -> Result<Target, InvalidTarget> {
    match name.split_once('/') {
        Some((host, path)) if path.contains('/') && (host.contains(['.', ':']) || host == "localhost") => {
            Target::new(host, path, branch)
        }
        Some(_) => Target::new(DEFAULT_HOST, name, branch),
        None => Err(InvalidTarget::NotAPath(name.chars().take(80).collect())),
    }
}

/// The template with the target's parts in it.
pub(super) fn expand(template: &str, target: &Target) -> String {
    template
        .replace("{host}", target.host())
        .replace("{owner}", target.owner())
        .replace("{name}", target.name())
}

/// A template: of the defaults it must name owner and name, or every repository would be the same one.
pub(super) fn template(template: &str, level: Level) -> Result<String, Refusal> {
    if level == Level::Defaults && !(template.contains("{owner}") && template.contains("{name}")) {
        let rule = "must contain {owner} and {name}: it is the template of every repository's URL";
        return Err(Refusal::Mistake(Mistake::CloneUrl(rule)));
    }
    let example = template.replace("{host}", "example.com").replace("{owner}", "o").replace("{name}", "n");
    if example.contains(['{', '}']) {
        let rule = "knows {host}, {owner} and {name}; there is another brace in it";
        return Err(Refusal::Mistake(Mistake::CloneUrl(rule)));
    }
    clone_url(&example).map_err(Refusal::Mistake)?;
    Ok(template.to_owned())
}

/// A URL git can fetch without credentials in it: over HTTP, or from a folder that worker and sandbox both see (laptops, tests).
pub(super) fn clone_url(url: &str) -> Result<(), Mistake> {
    let url = Url::parse(url)
        .map_err(|_| Mistake::CloneUrl("must be a URL such as https://host/owner/name.git"))?;
    if !matches!(url.scheme(), "https" | "http" | "file") {
        return Err(Mistake::CloneUrl(
            "must begin with https:// (http:// and file:// work too; ssh does not)",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Mistake::CloneUrl(
            "must not hold credentials: it stays in the prebuild; name the token's variable in token_secret",
        ));
    }
    Ok(())
}

/// A command line, or `false` for leaving the step out.
pub(super) fn command(value: &DeValue<'_>) -> Option<CommandSetting> {
    match (value.as_str(), value.as_bool()) {
        (Some(line), _) if !line.trim().is_empty() => Some(CommandSetting::Run(line.to_owned())),
        (None, Some(false)) => Some(CommandSetting::Skip(())),
        (Some(_) | None, _) => None,
    }
}

pub(super) fn not_empty(text: &str) -> Result<&str, Refusal> {
    if text.trim().is_empty() { Err(Refusal::Rule("must not be empty")) } else { Ok(text) }
}

pub(super) fn every(text: &str) -> Result<Duration, Refusal> {
    let rule = "must be a duration of whole seconds, at least one, such as \"30m\"";
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_secs(1) && every.subsec_nanos() == 0 => Ok(every),
        Ok(_) | Err(_) => Err(Refusal::Rule(rule)),
    }
}

pub(super) fn timeout(text: &str) -> Result<Duration, Refusal> {
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() => Ok(timeout),
        Ok(_) | Err(_) => Err(Refusal::Rule("must be a duration such as \"20m\"")),
    }
}

pub(super) fn keep(keep: u32) -> Result<u32, Refusal> {
    if (1..=20).contains(&keep) { Ok(keep) } else { Err(Refusal::Rule("must be between 1 and 20")) }
}

pub(super) fn package_manager(text: &str) -> Result<String, Refusal> {
    let version_of = |name: &str| text.strip_prefix(name).and_then(|rest| rest.strip_prefix('@'));
    let version = ["npm", "pnpm", "yarn", "bun"].iter().find_map(|name| version_of(name));
    if version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
        Ok(text.to_owned())
    } else {
        Err(Refusal::Rule("must be npm, pnpm, yarn or bun with its exact version, such as \"pnpm@9.15.4\""))
    }
}

pub(super) fn filter(text: &str) -> Result<String, Refusal> {
    let known = text == "blob:none" || text.starts_with("blob:limit=") || text.starts_with("tree:");
    if known && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err(Refusal::Rule("must be a partial clone filter: blob:none, blob:limit=<size> or tree:<depth>"))
    }
}

pub(super) fn sparse(folders: Vec<String>) -> Result<Vec<String>, Refusal> {
    let inside = |folder: &String| {
        !folder.is_empty()
            && !folder.starts_with(['/', '-'])
            && !folder.contains(['*', '?', '[', '!', '\\', '\n'])
            && folder.split('/').all(|part| part != "..")
    };
    if folders.iter().all(inside) {
        Ok(folders)
    } else {
        Err(Refusal::Rule("must be folders of the repository, such as [\"packages/app\"], without patterns"))
    }
}

/// URLs of other repositories that the git token may be used for, each of one repository.
pub(super) fn also(urls: Vec<String>) -> Result<Vec<String>, Refusal> {
    let is_repository = |url: &String| {
        url.parse::<RepositoryUrl>()
            .is_ok_and(|url| url.scheme() != UrlScheme::File && url.path().contains('/'))
    };
    if urls.iter().all(is_repository) {
        Ok(urls)
    } else {
        let rule = "must be URLs of repositories, such as [\"https://github.com/owner/library.git\"], each written plainly and in full";
        Err(Refusal::Rule(rule))
    }
}

/// The variable that holds the git token; empty for none.
pub(super) fn token_secret(name: &str) -> Result<String, Refusal> {
    if !name.is_empty() {
        secret_name(name).map_err(Refusal::Mistake)?;
    }
    Ok(name.to_owned())
}

/// A secret's name, never its value.
pub(super) fn secret_name(name: &str) -> Result<(), Mistake> {
    if value_looks_secret(name) {
        return Err(Mistake::LooksSecret { key: "secrets".to_owned() });
    }
    if !is_variable_name(name) {
        return Err(Mistake::VariableName(name.chars().take(40).collect()));
    }
    match reserved(name) {
        Some(why) => Err(Mistake::Reserved { name: name.to_owned(), why }),
        None => Ok(()),
    }
}

/// A variable with a plain value.
pub(super) fn plain_variable(name: &str, value: &str) -> Result<(), Mistake> {
    if !is_variable_name(name) {
        return Err(Mistake::VariableName(name.chars().take(40).collect()));
    }
    if name_looks_secret(name) || value_looks_secret(value) {
        return Err(Mistake::LooksSecret { key: format!("env.{name}") });
    }
    Ok(())
}
