//! Reads one table of fleet.toml key by key: what is right is kept, what is wrong is reported at its line, and neither
//! stops the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use job::{Commands, ToolchainSettings};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::checks;
use super::layer::{Checkout, Layer, Level, StageTimeouts};
use crate::problem::{Mistake, Problem, closest};

const KEYS: [&str; 15] = [
    "branch",
    "clone_url",
    "clone_user",
    "token_secret",
    "base_snapshot",
    "class",
    "owner",
    "keep",
    "commands",
    "env",
    "secrets",
    "toolchain",
    "checkout",
    "timeouts",
    "name",
];

/// Reads tables of one file and gathers what is wrong with them.
pub(super) struct LayerReader<'a> {
    path: &'a Path,
    pub(super) text: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl<'a> LayerReader<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, span: &Range<usize>, mistake: Mistake) {
        self.problems.push(Problem::at(self.path, self.text, span, mistake));
    }

    pub(super) fn value_mistake(&mut self, key: &str, span: &Range<usize>, reason: &str) {
        self.problem(span, Mistake::Value { key: key.to_owned(), reason: reason.to_owned() });
    }

    pub(super) fn unknown(&mut self, key: &str, span: &Range<usize>, known: &[&str]) {
        let last = key.rsplit('.').next().unwrap_or(key);
        let suggestion = closest(last, known.iter().copied());
        self.problem(span, Mistake::UnknownKey { key: key.to_owned(), suggestion });
    }

    pub(super) fn layer(&mut self, level: Level, table: &DeTable<'_>) -> Layer {
        let mut layer = Layer::default();
        for (spanned, value) in table {
            match (spanned.get_ref().as_ref(), level) {
                ("name", Level::Repository) => {
                    layer.name = self.value::<String>("name", value).map(|name| (name, value.span()));
                }
                ("every", Level::Defaults) => layer.every = self.checked("every", value, checks::every),
                ("branch", _) => layer.branch = self.text("branch", value),
                ("clone_url", _) => {
                    layer.clone_url = self.checked("clone_url", value, |url| checks::template(url, level));
                }
                ("clone_user", _) => layer.clone_user = self.text("clone_user", value),
                ("token_secret", _) => {
                    layer.token_secret = self.checked("token_secret", value, checks::token_secret);
                }
                ("base_snapshot", _) => layer.base_snapshot = self.text("base_snapshot", value),
                ("class", _) => layer.class = self.text("class", value),
                ("owner", _) => layer.owner = self.text("owner", value),
                ("keep", _) => layer.keep = self.checked_value("keep", value, checks::keep),
                ("commands", _) => layer.commands = self.commands(value),
                ("env", _) => layer.env = self.env(value),
                ("secrets", _) => layer.secrets = self.secrets(value),
                ("toolchain", _) => layer.toolchain = self.toolchain(value),
                ("checkout", _) => layer.checkout = self.checkout(value),
                ("timeouts", _) => layer.timeouts = self.timeouts(value),
                (key, Level::Defaults) => {
                    self.unknown(key, &spanned.span(), &[&KEYS[..14], &["every"]].concat());
                }
                (key, Level::Repository) => self.unknown(key, &spanned.span(), &KEYS),
            }
        }
        layer
    }

    fn commands(&mut self, value: &Spanned<DeValue<'_>>) -> Commands {
        let mut commands = Commands::default();
        self.keys("commands", value, &["install", "build", "verify"], |reader, key, value| {
            let name = format!("commands.{key}");
            let command = checks::command(value.get_ref());
            if command.is_none() {
                let reason = "write a command line, or false to leave the step out";
                reader.value_mistake(&name, &value.span(), reason);
            }
            match key {
                "install" => commands.install = command,
                "build" => commands.build = command,
                _ => commands.verify = command,
            }
        });
        commands
    }

    fn env(&mut self, value: &Spanned<DeValue<'_>>) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let Some(table) = self.table("env", value) else { return env };
        for (spanned, value) in table {
            let name = spanned.get_ref().as_ref();
            let key = format!("env.{name}");
            let Some(text) = self.value::<String>(&key, value) else { continue };
            match checks::plain_variable(name, &text) {
                Ok(()) => drop(env.insert(name.to_owned(), text)),
                Err(mistake) => self.problem(&spanned.span(), mistake),
            }
        }
        env
    }

    fn secrets(&mut self, value: &Spanned<DeValue<'_>>) -> Option<BTreeSet<String>> {
        let DeValue::Array(items) = value.get_ref() else {
            self.value_mistake("secrets", &value.span(), "is a list of names, such as [\"NPM_TOKEN\"]");
            return None;
        };
        let mut names = BTreeSet::new();
        for item in items {
            let Some(name) = self.value::<String>("secrets", item) else { continue };
            match checks::secret_name(&name) {
                Ok(()) => drop(names.insert(name)),
                Err(mistake) => self.problem(&item.span(), mistake),
            }
        }
        Some(names)
    }

    fn toolchain(&mut self, value: &Spanned<DeValue<'_>>) -> ToolchainSettings {
        let mut toolchain = ToolchainSettings::default();
        self.keys("toolchain", value, &["node", "package_manager"], |reader, key, value| match key {
            "node" => toolchain.node = reader.text("toolchain.node", value),
            _ => {
                toolchain.package_manager =
                    reader.checked("toolchain.package_manager", value, checks::package_manager);
            }
        });
        toolchain
    }

    fn checkout(&mut self, value: &Spanned<DeValue<'_>>) -> Checkout {
        let mut checkout = Checkout::default();
        let known = ["filter", "sparse", "lfs", "submodules", "also"];
        self.keys("checkout", value, &known, |reader, key, value| match key {
            "filter" => checkout.filter = reader.checked("checkout.filter", value, checks::filter),
            "sparse" => checkout.sparse = reader.checked_value("checkout.sparse", value, checks::sparse),
            "lfs" => checkout.lfs = reader.value("checkout.lfs", value),
            "submodules" => checkout.submodules = reader.value("checkout.submodules", value),
            _ => checkout.also = reader.checked_value("checkout.also", value, checks::also),
        });
        checkout
    }

    fn timeouts(&mut self, value: &Spanned<DeValue<'_>>) -> StageTimeouts {
        let mut timeouts = StageTimeouts::default();
        let known = ["checkout", "toolchain", "install", "build", "capture", "verify"];
        self.keys("timeouts", value, &known, |reader, key, value| {
            let timeout = reader.checked(&format!("timeouts.{key}"), value, checks::timeout);
            match key {
                "checkout" => timeouts.checkout = timeout,
                "toolchain" => timeouts.toolchain = timeout,
                "install" => timeouts.install = timeout,
                "build" => timeouts.build = timeout,
                "capture" => timeouts.capture = timeout,
                _ => timeouts.verify = timeout,
            }
        });
        timeouts
    }

    /// Visits the known keys of a section and reports the others.
    fn keys(
        &mut self,
        section: &str,
        value: &Spanned<DeValue<'_>>,
        known: &[&str],
        mut visit: impl FnMut(&mut Self, &str, &Spanned<DeValue<'_>>),
    ) {
        let Some(table) = self.table(section, value) else { return };
        for (spanned, value) in table {
            let key = spanned.get_ref().as_ref();
            if known.contains(&key) {
                visit(self, key, value);
            } else {
                self.unknown(&format!("{section}.{key}"), &spanned.span(), known);
            }
        }
    }

    fn table<'t, 'i>(&mut self, section: &str, value: &'t Spanned<DeValue<'i>>) -> Option<&'t DeTable<'i>> {
        if let DeValue::Table(table) = value.get_ref() {
            Some(table)
        } else {
            self.value_mistake(section, &value.span(), "is a section of keys and values");
            None
        }
    }

    /// A text with something in it.
    fn text(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        self.checked(key, value, |text| checks::not_empty(text).map(str::to_owned))
    }

    /// A text that a rule accepts and turns into what it means.
    fn checked<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        check: impl FnOnce(&str) -> Result<T, checks::Refusal>,
    ) -> Option<T> {
        self.checked_value(key, value, |text: String| check(&text))
    }

    fn checked_value<V: DeserializeOwned, T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        check: impl FnOnce(V) -> Result<T, checks::Refusal>,
    ) -> Option<T> {
        let read = self.value(key, value)?;
        match check(read) {
            Ok(meant) => Some(meant),
            Err(refusal) => {
                self.problem(&value.span(), refusal.for_key(key));
                None
            }
        }
    }

    fn value<T: DeserializeOwned>(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        match T::deserialize(toml::de::ValueDeserializer::from(value.clone())) {
            Ok(read) => Some(read),
            Err(error) => {
                // Without the value: a secret may have been put in the wrong place.
                let reason = without_value(error.message());
                self.value_mistake(key, &value.span(), &reason);
                None
            }
        }
    }
}

/// serde's `invalid type: string "dtn_…", expected u32` without the string.
fn without_value(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.rsplit_once(", expected ")
        .map_or_else(|| line.to_owned(), |(_, expected)| format!("expected {expected}"))
}
