//! The environment of one command: what may be seen, and what may not.

use std::collections::BTreeMap;

use secrecy::SecretString;

/// Variables for one command. Both kinds live in the memory of the command only; the second is never shown.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    plain: BTreeMap<String, String>,
    secret: BTreeMap<String, SecretString>,
}

impl Environment {
    /// An environment without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// An environment of plain variables and secret ones.
    pub fn of(plain: BTreeMap<String, String>, secret: BTreeMap<String, SecretString>) -> Self {
        Self { plain, secret }
    }

    /// The same with this plain variable; the newest of a name counts.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.secret.remove(name);
        self.plain.insert(name.to_owned(), value.into());
        self
    }

    /// The same with this plain variable, unless it is set already.
    #[must_use]
    pub fn or(self, name: &str, value: &str) -> Self {
        if self.plain.contains_key(name) || self.secret.contains_key(name) {
            self
        } else {
            self.with(name, value)
        }
    }

    /// The same with this secret variable.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: SecretString) -> Self {
        self.plain.remove(name);
        self.secret.insert(name.to_owned(), value);
        self
    }

    /// The value of a plain variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.plain.get(name).map(String::as_str)
    }

    pub(super) fn plain(&self) -> &BTreeMap<String, String> {
        &self.plain
    }

    /// The secret values, in the order of their names.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secret.values()
    }

    /// Both kinds, as a command takes them.
    pub(super) fn all(&self) -> BTreeMap<String, SecretString> {
        let plain = self.plain.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone())));
        plain.chain(self.secret.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
    }
}

impl<const N: usize> From<[(String, String); N]> for Environment {
    fn from(plain: [(String, String); N]) -> Self {
        Self { plain: plain.into(), secret: BTreeMap::new() }
    }
}
