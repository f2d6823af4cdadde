//! Three layers, each over the one before: the shipped defaults, a file, the environment.
//!
//! The defaults file is also the list of knobs: a key it lacks is unknown, and `[section] key` is the variable
//! `HARVEST_SECTION_KEY`. Each value is tried on its own over the defaults, so that one mistake hides no other.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::Environment;
use crate::effective::{Effective, EffectiveEntry};
use crate::problem::{Mistake, Place, Problem, closest};
use crate::secrets::value_looks_secret;

/// What a program's knobs are.
pub(crate) struct Knobs {
    /// The text of the defaults file.
    pub(crate) defaults: &'static str,
    /// Keys without a default.
    pub(crate) required: &'static [&'static str],
    /// Tables whose keys are chosen by whoever writes the file.
    pub(crate) open: &'static [&'static str],
    /// Variables that others also read, and the knob each sets.
    pub(crate) aliases: &'static [(&'static str, &'static str)],
}

/// Things people look for in files that only the environment may give.
const ENVIRONMENT_ONLY: [(&str, &str); 3] =
    [("broker.url", "AMQP_URL"), ("daytona.api_key", "DAYTONA_API_KEY"), ("daytona.key", "DAYTONA_API_KEY")];

/// The result, with everything that was wrong on the way.
pub(crate) struct Layered<T> {
    pub(crate) value: T,
    pub(crate) effective: Effective,
    pub(crate) problems: Vec<Problem>,
    overrides: Vec<Override>,
}

struct Override {
    path: Vec<String>,
    value: Value,
    place: Place,
}

impl<T> Layered<T> {
    /// A mistake that only shows when values are seen together, at the place where `key` was set.
    pub(crate) fn refuse(&mut self, key: &str, mistake: Mistake) {
        let set = self.overrides.iter().rev().find(|set| set.path.join(".") == key);
        let place = set.map_or(Place::Nowhere, |set| set.place.clone());
        self.problems.push(Problem { place, mistake });
    }

    /// Refuses `key` unless `holds`.
    pub(crate) fn require(&mut self, rule: &Rule<'_>) {
        if rule.broken {
            self.refuse(rule.key, Mistake::Rule { key: rule.key.to_owned(), rule: rule.must });
        }
    }
}

/// Something that must hold of a knob.
pub(crate) struct Rule<'a> {
    pub(crate) key: &'a str,
    pub(crate) broken: bool,
    pub(crate) must: &'static str,
}

/// Reads the layers.
pub(crate) fn read<T: DeserializeOwned>(
    knobs: &Knobs,
    file: Option<&Path>,
    environment: &Environment,
) -> Layered<T> {
    let defaults: Table = knobs
        .defaults
        .parse()
        .unwrap_or_else(|error| unreachable!("the shipped defaults are tested to be TOML: {error}"));
    let mut problems = Vec::new();
    let mut overrides = Vec::new();
    if let Some(path) = file {
        read_file(knobs, &defaults, path, &mut overrides, &mut problems);
    }
    read_environment(knobs, &defaults, environment, &mut overrides, &mut problems);

    let mut merged = defaults.clone();
    overrides.retain(|set| match try_alone::<T>(&defaults, set) {
        Ok(()) => {
            insert(&mut merged, &set.path, set.value.clone());
            true
        }
        Err(mistake) => {
            problems.push(Problem { place: set.place.clone(), mistake });
            false
        }
    });
    let value = parse::<T>(merged.clone())
        .or_else(|_| parse(defaults))
        .unwrap_or_else(|error| unreachable!("the shipped defaults are tested to be settings: {error}"));
    let effective = effective(&merged, &overrides);
    Layered { value, effective, problems, overrides }
}

fn parse<T: DeserializeOwned>(table: Table) -> Result<T, toml::de::Error> {
    T::deserialize(table.into_deserializer())
}

fn try_alone<T: DeserializeOwned>(defaults: &Table, set: &Override) -> Result<(), Mistake> {
    let mut table = defaults.clone();
    insert(&mut table, &set.path, set.value.clone());
    parse::<T>(table).map(drop).map_err(|error| {
        let key = set.path.join(".");
        match set.value.as_str() {
            // What the type says may repeat the value.
            Some(text) if value_looks_secret(text) => Mistake::Rule {
                key,
                rule: "holds what looks like a secret; those come from the environment only",
            },
            Some(_) | None => {
                let reason = error.message().lines().next().unwrap_or_default().to_owned();
                Mistake::Value { key, reason }
            }
        }
    })
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => drop(table.insert(key.clone(), value)),
        [section, rest @ ..] => {
            if let Value::Table(inner) =
                table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()))
            {
                insert(inner, rest, value);
            }
        }
    }
}

fn read_file(
    knobs: &Knobs,
    defaults: &Table,
    path: &Path,
    overrides: &mut Vec<Override>,
    problems: &mut Vec<Problem>,
) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::at(path, "", &(0..0), Mistake::Unreadable(error.kind())));
            return;
        }
    };
    match DeTable::parse(&text) {
        Ok(table) => {
            let mut walk = FileWalk { knobs, path, text: &text, overrides, problems };
            walk.table(&mut Vec::new(), defaults, table.get_ref());
        }
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            problems.push(Problem::at(path, &text, &span, Mistake::Syntax(error.message().to_owned())));
        }
    }
}

struct FileWalk<'a> {
    knobs: &'a Knobs,
    path: &'a Path,
    text: &'a str,
    overrides: &'a mut Vec<Override>,
    problems: &'a mut Vec<Problem>,
}

impl FileWalk<'_> {
    fn table(&mut self, above: &mut Vec<String>, known: &Table, found: &DeTable<'_>) {
        for (key, value) in found {
            above.push(key.get_ref().to_string());
            let dotted = above.join(".");
            let is_open = self.knobs.open.contains(&above[..above.len() - 1].join(".").as_str());
            let is_required = self.knobs.required.contains(&dotted.as_str());
            match (known.get(key.get_ref().as_ref()), value.get_ref()) {
                (Some(Value::Table(inner)), DeValue::Table(table)) if !is_open => {
                    self.table(above, inner, table);
                }
                (Some(Value::Table(_)), _) if !is_open => {
                    let reason = format!("is a section: write [{dotted}] and its keys under it");
                    self.problem(&key.span(), Mistake::Value { key: dotted, reason });
                }
                (Some(_), _) => self.take(above, value),
                (None, _) if is_open || is_required => self.take(above, value),
                (None, _) => self.unknown(&dotted, &key.span(), known),
            }
            above.pop();
        }
    }

    fn take(&mut self, path: &[String], value: &Spanned<DeValue<'_>>) {
        let deserializer = toml::de::ValueDeserializer::from(value.clone());
        match Value::deserialize(deserializer) {
            Ok(plain) => {
                let place = Problem::at(self.path, self.text, &value.span(), Mistake::Missing("")).place;
                self.overrides.push(Override { path: path.to_vec(), value: plain, place });
            }
            Err(error) => {
                let reason = error.message().to_owned();
                self.problem(&value.span(), Mistake::Value { key: path.join("."), reason });
            }
        }
    }

    fn unknown(&mut self, dotted: &str, span: &Range<usize>, known: &Table) {
        let mistake = if let Some((_, variable)) = ENVIRONMENT_ONLY.iter().find(|(key, _)| *key == dotted) {
            Mistake::EnvironmentOnly { key: dotted.to_owned(), variable }
        } else {
            let last = dotted.rsplit('.').next().unwrap_or(dotted);
            let suggestion = closest(last, known.keys().map(String::as_str));
            Mistake::UnknownKey { key: dotted.to_owned(), suggestion }
        };
        self.problem(span, mistake);
    }

    fn problem(&mut self, span: &Range<usize>, mistake: Mistake) {
        self.problems.push(Problem::at(self.path, self.text, span, mistake));
    }
}

fn read_environment(
    knobs: &Knobs,
    defaults: &Table,
    environment: &Environment,
    overrides: &mut Vec<Override>,
    problems: &mut Vec<Problem>,
) {
    let mut leaves = Vec::new();
    collect_leaves(knobs, defaults, &mut Vec::new(), &mut leaves);
    leaves.extend(knobs.required.iter().map(|key| (vec![(*key).to_owned()], Value::String(String::new()))));
    for (path, default) in leaves {
        let dotted = path.join(".");
        let aliases =
            knobs.aliases.iter().filter(|(_, knob)| *knob == dotted).map(|(name, _)| (*name).to_owned());
        // Our own name for it last, so that it wins over one that other programs read too.
        for name in aliases.chain([variable_name(&path)]) {
            let Some(text) = environment.get(&name) else { continue };
            let place = Place::Variable(name);
            let Some(value) = from_text(text, &default) else {
                let reason = format!("expected {}", expected(&default));
                problems.push(Problem { place, mistake: Mistake::Value { key: dotted.clone(), reason } });
                continue;
            };
            overrides.push(Override { path: path.clone(), value, place });
        }
    }
}

/// Variables that look like knobs and are none of any program: most likely misspelt. (Kubernetes adds variables of its own
/// for every service of the namespace, so these do not refuse to start.)
pub(crate) fn unread(environment: &Environment) -> Vec<String> {
    let mut leaves = Vec::new();
    for knobs in [&crate::worker::KNOBS, &crate::producer::KNOBS] {
        let defaults: Table = knobs.defaults.parse().unwrap_or_default();
        collect_leaves(knobs, &defaults, &mut Vec::new(), &mut leaves);
    }
    let known: Vec<String> = leaves.iter().map(|(path, _)| variable_name(path)).collect();
    let is_known = |name: &str| name == "HARVEST_FLEET" || known.iter().any(|known| known == name);
    let is_of_kubernetes = |name: &str| name.contains("_SERVICE_") || name.contains("_PORT");
    environment
        .names()
        .filter(|name| name.starts_with("HARVEST_") && !is_known(name) && !is_of_kubernetes(name))
        .map(str::to_owned)
        .collect()
}

/// `lease.beat` is `HARVEST_LEASE_BEAT`.
fn variable_name(path: &[String]) -> String {
    format!("HARVEST_{}", path.join("_").to_ascii_uppercase())
}

fn collect_leaves(
    knobs: &Knobs,
    table: &Table,
    above: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, Value)>,
) {
    for (key, value) in table {
        above.push(key.clone());
        if let Value::Table(inner) = value {
            if !knobs.open.contains(&above.join(".").as_str()) {
                collect_leaves(knobs, inner, above, leaves);
            }
        } else {
            leaves.push((above.clone(), value.clone()));
        }
        above.pop();
    }
}

/// Text to a value of the default's type; lists are separated by commas.
fn from_text(text: &str, default: &Value) -> Option<Value> {
    match default {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => Some(Value::String(text.to_owned())),
    }
}

fn expected(default: &Value) -> &'static str {
    match default {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) | Value::String(_) | Value::Datetime(_) | Value::Table(_) => "text",
    }
}

fn effective(merged: &Table, overrides: &[Override]) -> Effective {
    let none = Knobs { defaults: "", required: &[], open: &[], aliases: &[] };
    let mut leaves = Vec::new();
    collect_leaves(&none, merged, &mut Vec::new(), &mut leaves);
    let entries = leaves.into_iter().map(|(path, value)| {
        let set = overrides.iter().rev().find(|set| path.starts_with(&set.path));
        let from = set.map_or_else(|| "default".to_owned(), |set| set.place.to_string());
        let from = from.trim_end_matches([':', ' ']).to_owned();
        EffectiveEntry { knob: path.join("."), value: value.to_string(), from }
    });
    Effective::new(entries.collect())
}

#[cfg(test)]
mod tests;
