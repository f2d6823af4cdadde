//! Mistakes in the rules of secrets that only show when they are seen as a whole, at the lines where they stand.

use std::path::Path;

use serde::Deserialize;

use crate::Environment;
use crate::layers::Layered;
use crate::problem::{Mistake, Problems};
use crate::secret_rules::SecretRules;
use crate::secrets::{is_variable_name, reserved, value_looks_secret};
use crate::shipped;

/// Of the worker's settings, the rules of secrets alone.
#[derive(Deserialize)]
struct Rules {
    secrets: SecretRules,
}

impl SecretRules {
    /// The rules in a worker's settings file, for whoever has to know what its workers may give.
    pub fn read(file: &Path) -> Result<Self, Problems> {
        let environment = Environment::default();
        let mut layers: Layered<Rules> = Layered::read(&shipped::WORKER, Some(file), &environment);
        let rules = layers.value().secrets.clone();
        check_secret_rules(&mut layers, &rules);
        let (Rules { secrets }, (), _) = layers.finish(Some(()), &environment)?;
        Ok(secrets)
    }
}

/// Refuses a rule for what is no variable, for one that nobody is ever given, and one that allows nothing.
pub fn check_secret_rules<T>(layers: &mut Layered<T>, rules: &SecretRules) {
    for (name, rule) in rules.iter() {
        let key = format!("secrets.{name}");
        let mistake = if value_looks_secret(name) {
            Mistake::LooksSecret { key: "secrets".to_owned() }
        } else if !is_variable_name(name) {
            Mistake::VariableName(name.chars().take(40).collect())
        } else if let Some(why) = reserved(name) {
            Mistake::Reserved { name: name.to_owned(), why }
        } else if rule.is_empty() && !layers.is_refused_below(&key) {
            Mistake::Rule { key: key.clone(), rule: ALLOWS_NOTHING }
        } else {
            continue;
        };
        layers.refuse(&key, mistake);
    }
}

const ALLOWS_NOTHING: &str = "allows nothing: write git = [\"https://github.com/owner/\"] or repositories = [\"owner/*\"], or leave it out";
