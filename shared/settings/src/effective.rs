//! The settings in force, for one log line at the start: every knob, its value, and who set it. Secrets are only
//! ever "set" or "not set".

use std::fmt;

use serde::Serialize;

use crate::Environment;

/// Every knob with its value and origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Effective {
    entries: Vec<EffectiveEntry>,
    unread: Vec<String>,
}

/// One knob as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveEntry {
    /// `lease.beat`, or the variable's name for what only the environment gives.
    pub knob: String,
    /// As TOML; of a secret only whether it is set.
    pub value: String,
    /// `default`, `file:line:column`, or the variable.
    pub from: String,
}

impl Effective {
    pub(crate) fn new(entries: Vec<EffectiveEntry>) -> Self {
        Self { entries, unread: Vec::new() }
    }

    /// With a line for each of these variables, saying only whether it is set.
    pub(crate) fn with_variables(mut self, environment: &Environment, names: &[&str]) -> Self {
        self.entries.extend(names.iter().map(|name| EffectiveEntry {
            knob: (*name).to_owned(),
            value: if environment.get(name).is_some() { "set" } else { "not set" }.to_owned(),
            from: "environment".to_owned(),
        }));
        self
    }

    /// With the variables that nobody reads.
    pub(crate) fn with_unread(self, unread: Vec<String>) -> Self {
        Self { unread, ..self }
    }

    /// Every knob, in the order of the defaults file, then the variables without a knob.
    pub fn entries(&self) -> &[EffectiveEntry] {
        &self.entries
    }

    /// `HARVEST_` variables that no program reads: worth a warning, for one may be misspelt.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// The knobs that somebody set.
    pub fn changed(&self) -> impl Iterator<Item = &EffectiveEntry> {
        self.entries.iter().filter(|entry| entry.from != "default")
    }
}

/// `slots=8 (HARVEST_SLOTS) lease.beat="30s" ...`, on one line.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}={}", entry.knob, entry.value)?;
            if entry.from != "default" {
                write!(f, " ({})", entry.from)?;
            }
        }
        Ok(())
    }
}
