//! fleet.toml: which repositories, and how each is built.
//!
//! A wrong entry is reported with its line and stops no other entry. A file that cannot be understood as a whole (not
//! TOML, or a mistake in `[defaults]`, which every entry inherits) gives nothing: whoever has an earlier load keeps it.

mod checks;
mod layer;
mod reader;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use job::{CloneSettings, DEFAULT_HOST, Settings, Target};
use toml::de::{DeTable, DeValue};

use crate::problem::{Mistake, Problem, Problems, line_and_column};
use layer::{Layer, Level};
use reader::LayerReader;

/// How often the schedule fires unless the file says otherwise.
pub const DEFAULT_EVERY: Duration = Duration::from_mins(30);

/// What every entry starts from.
const CLONE_URL: &str = "https://github.com/{owner}/{name}.git";
const CLONE_USER: &str = "x-access-token";
const TOKEN_SECRET: &str = "GITHUB_TOKEN";
const BRANCH: &str = "main";
const BASE_SNAPSHOT: &str = "harvest-snapshot";
const CLASS: &str = "default";
const KEEP: u32 = 2;

/// A fleet file, read anew each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetFile {
    path: PathBuf,
}

/// What a fleet file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLoad {
    /// Every repository whose entry is right, in the file's order.
    pub targets: Vec<(Target, Settings)>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
    /// How often the schedule fires.
    pub every: Duration,
}

impl FleetLoad {
    /// The settings of a target.
    pub fn settings_of(&self, target: &Target) -> Option<&Settings> {
        self.targets.iter().find(|(listed, _)| listed == target).map(|(_, settings)| settings)
    }
}

impl FleetFile {
    /// The file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path it is read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text, for whoever watches it for changes.
    pub fn text(&self) -> Result<String, Problems> {
        std::fs::read_to_string(&self.path).map_err(|error| {
            Problems(vec![Problem::at(&self.path, "", &(0..0), Mistake::Unreadable(error.kind()))])
        })
    }

    /// Reads the file at `path` and what it says.
    pub fn load(path: impl Into<PathBuf>) -> Result<FleetLoad, Problems> {
        let file = Self::new(path);
        file.understand(&file.text()?)
    }

    /// What `text` says, as the content of this file.
    pub fn understand(&self, text: &str) -> Result<FleetLoad, Problems> {
        let document = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            Problems(vec![Problem::at(&self.path, text, &span, Mistake::Syntax(error.message().to_owned()))])
        })?;
        let mut reader = LayerReader::new(&self.path, text);
        let mut repositories = None;
        let mut defaults = Layer::default();
        for (key, value) in document.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("defaults", DeValue::Table(table)) => defaults = reader.layer(Level::Defaults, table),
                ("repository", DeValue::Array(array)) => repositories = Some(array),
                ("defaults", _) => {
                    reader.value_mistake("defaults", &value.span(), "is a section: write [defaults]");
                }
                ("repository", _) => {
                    reader.value_mistake(
                        "repository",
                        &value.span(),
                        "is a list: write [[repository]] for each",
                    );
                }
                (unknown, _) => reader.unknown(unknown, &key.span(), &["defaults", "repository"]),
            }
        }
        let unusable = !reader.problems.is_empty();
        let mut entries = Entries { reader, defaults, seen: BTreeMap::new(), targets: Vec::new() };
        for entry in repositories.into_iter().flat_map(|array| array.iter()) {
            if let DeValue::Table(table) = entry.get_ref() {
                entries.add(table, &entry.span());
            } else {
                let reason = "is a list of tables: write [[repository]]";
                entries.reader.value_mistake("repository", &entry.span(), reason);
            }
        }
        let problems = entries.reader.problems;
        if unusable {
            return Err(Problems::in_order(problems));
        }
        let Problems(problems) = Problems::in_order(problems);
        let every = entries.defaults.every.unwrap_or(DEFAULT_EVERY);
        Ok(FleetLoad { targets: entries.targets, problems, every })
    }
}

struct Entries<'a> {
    reader: LayerReader<'a>,
    defaults: Layer,
    seen: BTreeMap<String, usize>,
    targets: Vec<(Target, Settings)>,
}

impl Entries<'_> {
    fn add(&mut self, table: &DeTable<'_>, span: &Range<usize>) {
        let before = self.reader.problems.len();
        let layer = self.reader.layer(Level::Repository, table);
        let Some((name, name_span)) = layer.name.clone() else {
            if self.reader.problems.len() == before {
                self.reader
                    .problem(span, Mistake::Missing("the entry has no `name`: write name = \"owner/name\""));
            }
            return;
        };
        let branch = layer.branch.as_deref().or(self.defaults.branch.as_deref()).unwrap_or(BRANCH);
        let target = match checks::target(&name, branch) {
            Ok(target) => target,
            Err(error) => return self.reader.problem(&name_span, Mistake::Target(error)),
        };
        let line = line_and_column(self.reader.text, name_span.start).0;
        // Also where the entry has mistakes: the second one is no way to mend the first.
        if let Some(&first) = self.seen.get(&target.key()) {
            let mistake = Mistake::Duplicate { target: target.to_string(), first };
            return self.reader.problem(&name_span, mistake);
        }
        self.seen.insert(target.key(), line);
        match settings(&target, &self.defaults, layer) {
            Ok(settings) if self.reader.problems.len() == before => self.targets.push((target, settings)),
            Ok(_) => {}
            Err(mistake) => self.reader.problem(&name_span, mistake),
        }
    }
}

/// The entry over the defaults, the defaults over what is built in.
fn settings(target: &Target, defaults: &Layer, entry: Layer) -> Result<Settings, Mistake> {
    let elsewhere = target.host() != DEFAULT_HOST;
    let template = match (&entry.clone_url, &defaults.clone_url) {
        (Some(own), _) => own.as_str(),
        (None, inherited) => {
            let inherited = inherited.as_deref().unwrap_or(CLONE_URL);
            if elsewhere && !inherited.contains("{host}") {
                return Err(Mistake::CloneUrl(
                    "is needed here: the repository is on another host than [defaults] clones from",
                ));
            }
            inherited
        }
    };
    if elsewhere && entry.token_secret.is_none() {
        return Err(Mistake::Missing(
            "token_secret is needed here: the repository is on another host, which must not be sent the token of the default one (\"\" for none)",
        ));
    }
    let url = checks::expand(template, target);
    checks::clone_url(&url)?;
    let merged = entry.over(defaults.clone());
    Ok(Settings {
        clone: CloneSettings {
            url,
            user: merged.clone_user.unwrap_or_else(|| CLONE_USER.to_owned()),
            token_secret: merged.token_secret.unwrap_or_else(|| TOKEN_SECRET.to_owned()),
        },
        base_snapshot: merged.base_snapshot.unwrap_or_else(|| BASE_SNAPSHOT.to_owned()),
        class: merged.class.unwrap_or_else(|| CLASS.to_owned()),
        commands: merged.commands,
        env: merged.env,
        secrets: merged.secrets.unwrap_or_default(),
        toolchain: merged.toolchain,
        checkout: merged.checkout.into_settings(),
        timeouts: merged.timeouts.into_settings(),
        owner: merged.owner,
        keep: merged.keep.unwrap_or(KEEP),
    })
}

#[cfg(test)]
mod tests;
