//! The environment as a value: read once at the start, built by hand in tests.
//!
//! A `.env` file in the working directory counts, but a real variable wins. An empty variable counts as unset:
//! that is how shells, compose files and charts spell "not given". Values are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// Every variable a program can see.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, SecretString>,
}

/// A `.env` file that cannot be used. Its lines are not shown: they hold secrets.
#[derive(Debug, Error)]
pub enum EnvFileError {
    /// It exists and cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The `.env` file that cannot be read.
        path: PathBuf,
        /// What the file system says.
        #[source]
        source: std::io::Error,
    },
    /// A line is not `NAME=value`.
    #[error(
        "{}: entry {entry} is not NAME=value (values with spaces need quotes; the line is not shown, it may be a secret)",
        path.display()
    )]
    Syntax {
        /// The `.env` file that has the entry.
        path: PathBuf,
        /// Which entry, counted from 1, comments left out.
        entry: usize,
    },
}

impl Environment {
    /// The process's environment over the `.env` file in `folder`, where there is one. Variables that are not
    /// UTF-8 are left out.
    pub fn read(folder: &Path) -> Result<Self, EnvFileError> {
        let mut environment = Self::from_file(&folder.join(".env"))?;
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                environment.set(name, value);
            }
        }
        Ok(environment)
    }

    fn from_file(path: &Path) -> Result<Self, EnvFileError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(EnvFileError::Unreadable { path: path.to_owned(), source }),
        };
        let mut environment = Self::default();
        for (index, pair) in dotenvy::from_read_iter(bytes.as_slice()).enumerate() {
            let Ok((name, value)) = pair else {
                return Err(EnvFileError::Syntax { path: path.to_owned(), entry: index + 1 });
            };
            environment.set(name, value);
        }
        Ok(environment)
    }

    /// An environment of exactly these variables, for tests.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            environment.set(name.into(), value.into());
        }
        environment
    }

    fn set(&mut self, name: String, value: String) {
        if value.trim().is_empty() {
            return;
        }
        self.variables.insert(name, SecretString::from(value));
    }

    /// A variable that is no secret, without white space around it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.expose_secret().trim())
    }

    /// The same as a function, for crates that look variables up by themselves.
    pub fn lookup(&self) -> impl Fn(&str) -> Option<String> {
        |name| self.get(name).map(str::to_owned)
    }

    /// A variable that is one. White space around it (the newline of a mounted file) is not part of it.
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.variables.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_variable_wins_over_the_file_and_an_empty_one_is_unset() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "# keys\nPATH=from-file\nHV_QUOTED=\"a b\"\nHV_EMPTY=\n")
            .unwrap();
        let environment = Environment::read(folder.path()).unwrap();
        assert_eq!(environment.get("HV_QUOTED"), Some("a b"));
        assert_eq!(environment.get("HV_EMPTY"), None);
        assert_ne!(environment.get("PATH"), Some("from-file"));
    }

    #[test]
    fn a_broken_file_is_told_by_entry_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "A=1\nB=very secret words\n").unwrap();
        let error = Environment::read(folder.path()).unwrap_err();
        assert!(matches!(error, EnvFileError::Syntax { entry: 2, .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("very"), "{error}");
    }

    #[test]
    fn values_are_never_shown() {
        let environment = Environment::from_pairs([("TOKEN", " ghp_secret\n")]);
        assert!(!format!("{environment:?}").contains("ghp_secret"));
        assert_eq!(environment.secret("TOKEN").unwrap().expose_secret(), "ghp_secret");
    }
}
