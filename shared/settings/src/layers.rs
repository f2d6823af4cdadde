//! Three layers, each over the one before: the shipped defaults, a file, the environment.
//!
//! The defaults file is also the list of knobs: a key it lacks is unknown, and `[section] key` is the variable
//! `HARVEST_SECTION_KEY`. Each value is tried on its own over the defaults, so that one mistake hides no other.

use std::ops::Range;
use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::Environment;
use crate::effective::{Effective, EffectiveEntry};
use crate::knobs::{Knobs, leaves};
use crate::problem::{Mistake, Place, Problem, Problems, closest};
use crate::secrets::value_looks_secret;
use crate::unread::unread;
use crate::variable::{SHOWN, Variable};

/// Things people look for in files that only the environment may give.
const ENVIRONMENT_ONLY: [(&str, &str); 3] =
    [("broker.url", "AMQP_URL"), ("daytona.api_key", "DAYTONA_API_KEY"), ("daytona.key", "DAYTONA_API_KEY")];

/// Keys that versions before this one had elsewhere, and where they are now.
const MOVED: [(&str, &str); 3] = [
    ("sandboxes.max", "[quota] sandboxes"),
    ("sandboxes.reserve_for_sessions", "[quota] reserve_for_sessions"),
    ("sandboxes.reserve_snapshots", "[quota] reserve_snapshots"),
];

/// Settings as the layers give them, with everything that was wrong on the way.
pub struct Layered<T> {
    value: T,
    effective: Effective,
    problems: Vec<Problem>,
    overrides: Vec<Override>,
}

struct Override {
    path: Vec<String>,
    value: Value,
    place: Place,
}

/// Something that must hold of a knob.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// The knob, as `section.key`.
    pub key: &'a str,
    /// Whether it does not hold.
    pub broken: bool,
    /// What is said then, after the key.
    pub must: &'static str,
}

impl<T: DeserializeOwned> Layered<T> {
    /// Reads the layers: defaults, `file`, `environment`.
    pub fn read(knobs: &Knobs, file: Option<&Path>, environment: &Environment) -> Self {
        let defaults = knobs.table();
        let mut problems = Vec::new();
        let mut overrides = Vec::new();
        if let Some(path) = file {
            read_file(knobs, &defaults, path, &mut overrides, &mut problems);
        }
        read_environment(knobs, environment, &mut overrides, &mut problems);

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
        Self { value, effective, problems, overrides }
    }
}

impl<T> Layered<T> {
    /// What was read, for rules about several values. What is wrong is at its default here.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// A mistake that only shows when values are seen together, at the place where `key` was set.
    pub fn refuse(&mut self, key: &str, mistake: Mistake) {
        let set = self.overrides.iter().rev().find(|set| set.path.join(".") == key);
        let place = set.map_or(Place::Nowhere, |set| set.place.clone());
        self.problems.push(Problem { place, mistake });
    }

    /// Refuses each knob whose rule is broken.
    pub fn require(&mut self, rules: &[Rule<'_>]) {
        for rule in rules.iter().filter(|rule| rule.broken) {
            self.refuse(rule.key, Mistake::Rule { key: rule.key.to_owned(), rule: rule.must });
        }
    }

    /// Whether a key below this one was refused already.
    pub(crate) fn is_refused_below(&self, key: &str) -> bool {
        let is_below = |wrong: &str| wrong.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.problems
            .iter()
            .any(|problem| matches!(&problem.mistake, Mistake::Value { key: wrong, .. } if is_below(wrong)))
    }

    /// A knob without a default. It is not called missing when what it was set to is refused already.
    pub fn required<V>(&mut self, key: &str, value: Option<V>, missing: &'static str) -> Option<V> {
        let refused = self
            .problems
            .iter()
            .any(|problem| matches!(&problem.mistake, Mistake::Value { key: wrong, .. } if wrong == key));
        if value.is_none() && !refused {
            self.problems.push(Problem::missing(missing));
        }
        value
    }

    /// A variable that the program cannot do without; empty where it is missing, which is a problem by then.
    pub fn variable(&mut self, environment: &Environment, variable: &Variable) -> SecretString {
        let Variable { name, missing, must, holds } = *variable;
        match environment.get(name) {
            None => self.problems.push(Problem::missing(missing)),
            Some(text) if holds(text) => {}
            Some(_) => self.problems.push(Problem {
                place: Place::Variable(name.to_owned()),
                mistake: Mistake::Rule { key: name.to_owned(), rule: must },
            }),
        }
        environment.secret(name).unwrap_or_default()
    }

    /// The settings, with what was `required` of them, and those in force for the log; or every mistake at once.
    pub fn finish<R>(
        self,
        required: Option<R>,
        environment: &Environment,
    ) -> Result<(T, R, Effective), Problems> {
        match required {
            Some(required) if self.problems.is_empty() => {
                let effective = self.effective.with_variables(environment, &SHOWN);
                Ok((self.value, required, effective.with_unread(unread(environment))))
            }
            Some(_) | None => Err(Problems::in_order(self.problems)),
        }
    }
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
        // What has a chosen name keeps what its defaults say.
        [key] if value.as_table().is_some_and(Table::is_empty) && table.contains_key(key) => {}
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
            let is_open = self.knobs.is_open(&above[..above.len() - 1].join("."));
            let is_required = self.knobs.required.contains(&dotted.as_str());
            match (known.get(key.get_ref().as_ref()), value.get_ref()) {
                (Some(Value::Table(inner)), DeValue::Table(table)) if !is_open => {
                    self.table(above, inner, table);
                }
                (Some(Value::Table(_)), _) if !is_open => {
                    let reason = format!("is a section: write [{dotted}] and its keys under it");
                    self.problem(&key.span(), Mistake::Value { key: dotted, reason });
                }
                // What has a chosen name is there even when empty; each of its keys is a value with a line of its own.
                (_, DeValue::Table(table)) if is_open => {
                    self.take_empty_table(above, &key.span());
                    for (inner, value) in table {
                        above.push(inner.get_ref().to_string());
                        self.take(above, value);
                        above.pop();
                    }
                }
                (Some(_), _) => self.take(above, value),
                (None, _) if is_open || is_required => self.take(above, value),
                (None, _) => self.unknown(&dotted, &key.span(), known),
            }
            above.pop();
        }
    }

    fn take_empty_table(&mut self, path: &[String], span: &Range<usize>) {
        let place = Problem::at(self.path, self.text, span, Mistake::Missing("")).place;
        self.overrides.push(Override { path: path.to_vec(), value: Value::Table(Table::new()), place });
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
        } else if let Some((_, now)) = MOVED.iter().find(|(key, _)| *key == dotted) {
            Mistake::Moved { key: dotted.to_owned(), now }
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
    environment: &Environment,
    overrides: &mut Vec<Override>,
    problems: &mut Vec<Problem>,
) {
    for (key, now) in MOVED {
        let variable = format!("HARVEST_{}", key.replace('.', "_").to_uppercase());
        if environment.get(&variable).is_some() {
            let mistake = Mistake::Moved { key: key.to_owned(), now };
            problems.push(Problem { place: Place::Variable(variable), mistake });
        }
    }
    for (path, default) in knobs.leaves() {
        for name in knobs.variables(&path) {
            let Some(text) = environment.get(&name) else { continue };
            let place = Place::Variable(name);
            let Some(value) = from_text(text, &default) else {
                let reason = format!("expected {}", expected(&default));
                problems.push(Problem { place, mistake: Mistake::Value { key: path.join("."), reason } });
                continue;
            };
            overrides.push(Override { path: path.clone(), value, place });
        }
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
    let entries = leaves(merged, &|_| false).into_iter().map(|(path, value)| {
        let set = overrides.iter().rev().find(|set| path.starts_with(&set.path));
        let from = set.map_or_else(|| "default".to_owned(), |set| set.place.to_string());
        let from = from.trim_end_matches([':', ' ']).to_owned();
        EffectiveEntry { knob: path.join("."), value: value.to_string(), from }
    });
    Effective::new(entries.collect())
}
