//! The secrets of the worker's environment, as one job may use them: by the names in its settings.

use std::collections::BTreeMap;

use job::{CloneSettings, Failure, FailureKind, Job, Stage};
use remote::Credential;
use secrecy::SecretString;
use settings::{SecretRefusal, Secrets};

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

    /// Refuses a job that asks for a secret which no rule gives it, before anything is done with the others.
    pub(crate) fn check(&self, job: &Job) -> Result<(), Failure> {
        self.credential(job)?;
        for name in &job.settings.secrets {
            match self.for_build(job, name) {
                // One that is not set is missed once something has to be built.
                Ok(_) | Err(SecretRefusal::NotSet) => {}
                Err(refusal) => return Err(refused(name, &refusal).at(Stage::Resolve)),
            }
        }
        Ok(())
    }

    /// The credential for the job's repository; none when the worker has none: public repositories build without.
    pub(crate) fn credential(&self, job: &Job) -> Result<Option<Credential>, Failure> {
        let CloneSettings { url, user, token_secret } = &job.settings.clone;
        let token = self.secrets.git_token(token_secret, url, &job.settings.checkout.also);
        match token {
            Ok(token) => Ok(token.map(|token| Credential { user: Some(user.clone()), token })),
            Err(SecretRefusal::NoRule(no_rule)) => Err(Failure::new(
                FailureKind::SecretNoRule,
                format!(
                    "{token_secret} may not be used as the git token here: {no_rule}; or token_secret = \"\" in fleet.toml, \
                     for a public repository"
                ),
            )),
            Err(refusal @ (SecretRefusal::Reserved(_) | SecretRefusal::NotSet)) => {
                Err(refused(token_secret, &refusal).at(Stage::Resolve))
            }
        }
    }

    /// What install, build and verify are given: the plain environment, and the secrets that settings name.
    pub(crate) fn environment(&self, job: &Job) -> Result<Environment, Failure> {
        let mut secrets = BTreeMap::new();
        for name in &job.settings.secrets {
            let value = self.for_build(job, name).map_err(|refusal| refused(name, &refusal))?;
            secrets.insert(name.clone(), value);
        }
        Ok(Environment::of(job.settings.env.clone(), secrets))
    }

    fn for_build(&self, job: &Job, name: &str) -> Result<SecretString, SecretRefusal> {
        self.secrets.for_build(name, &job.target, &job.settings.clone.url)
    }

    /// Hides the secrets that the job's sandboxes are given. No other can come from there but as a guess, and what is hidden would
    /// tell whoever guesses that it was right.
    pub(crate) fn redactor(&self, job: &Job) -> Redactor {
        let token = self.credential(job).ok().flatten().map(|credential| credential.token);
        let named = job.settings.secrets.iter().filter_map(|name| self.for_build(job, name).ok());
        let given: Vec<SecretString> = token.into_iter().chain(named).collect();
        Redactor::of(&given)
    }
}

/// The failure behind a refusal.
fn refused(name: &str, refusal: &SecretRefusal) -> Failure {
    let id = match refusal {
        SecretRefusal::NoRule(_) => FailureKind::SecretNoRule,
        SecretRefusal::Reserved(_) | SecretRefusal::NotSet => FailureKind::SecretUnavailable,
    };
    Failure::new(id, format!("secret {name} of fleet.toml cannot be given to the build: {refusal}"))
}
