//! The secrets of the worker's environment, as one job may use them: by the names in its settings.

use std::collections::BTreeMap;

use job::{Failure, FailureKind, Settings};
use remote::Credential;
use secrecy::SecretString;
use settings::Secrets;

use crate::sandbox::{Environment, Redactor};

/// Gives a job what it may use, and knows what must be nowhere in its output.
#[derive(Debug)]
pub(crate) struct JobSecrets {
    secrets: Secrets,
}

impl JobSecrets {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { secrets }
    }

    /// The credential for the job's repository; none when the worker has none: public repositories build without.
    pub(crate) fn credential(&self, settings: &Settings) -> Option<Credential> {
        let token = self.secrets.get(&settings.clone.token_secret).ok()?;
        Some(Credential { user: Some(settings.clone.user.clone()), token })
    }

    /// What install, build and verify are given: the plain environment, and the secrets that settings name.
    pub(crate) fn environment(&self, settings: &Settings) -> Result<Environment, Failure> {
        let mut secrets = BTreeMap::new();
        for name in &settings.secrets {
            let value = self.secrets.get(name).map_err(|refusal| {
                Failure::new(
                    FailureKind::SecretUnavailable,
                    format!("secret {name} of fleet.toml cannot be given to the build: {refusal}"),
                )
            })?;
            secrets.insert(name.clone(), value);
        }
        Ok(Environment::of(settings.env.clone(), secrets))
    }

    /// Hides all that must not leave the job's sandbox or stay in it: the worker's own secrets, and those that settings name.
    pub(crate) fn redactor(&self, settings: &Settings) -> Redactor {
        let named = settings.secrets.iter().map(String::as_str).chain([settings.clone.token_secret.as_str()]);
        let known: BTreeMap<String, SecretString> = self.secrets.to_search_for(named).into_iter().collect();
        Redactor::new(&known)
    }
}
