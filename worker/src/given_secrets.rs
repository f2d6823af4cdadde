//! The secrets that one job's sandboxes are given, and whether they are the ones they were.
//!
//! Known to the repository, all of them: searched for before a capture, and the reason why a failure that is about them ends
//! when one has another value.

use job::SecretsCheck;
use remote::Credential;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::sandbox::Environment;

/// What git was given, and what install, build and verify are, in the order of their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenSecrets(Vec<SecretString>);

impl GivenSecrets {
    pub(crate) fn new(credential: Option<&Credential>, environment: &Environment) -> Self {
        let token = credential.map(|credential| credential.token.clone());
        Self(token.into_iter().chain(environment.secrets().cloned()).collect())
    }

    pub(crate) fn as_slice(&self) -> &[SecretString] {
        &self.0
    }

    /// By which [`Self::pass`] knows them again.
    pub(crate) fn check(&self) -> SecretsCheck {
        let key = Uuid::new_v4();
        SecretsCheck { key, digest: self.digest(key) }
    }

    /// Whether these are the secrets that `check` was made of. Two that are not pass once in 65,536 times.
    pub(crate) fn pass(&self, check: &SecretsCheck) -> bool {
        self.digest(check.key) == check.digest
    }

    fn digest(&self, key: Uuid) -> u16 {
        let mut hash = Sha256::new_with_prefix(key);
        for secret in &self.0 {
            hash.update(secret.expose_secret().len().to_le_bytes());
            hash.update(secret.expose_secret());
        }
        let digest = hash.finalize();
        u16::from_le_bytes([digest[0], digest[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[&str]) -> GivenSecrets {
        GivenSecrets(values.iter().map(|&value| SecretString::from(value)).collect())
    }

    #[test]
    fn a_check_passes_until_a_value_changes() {
        let check = given(&["one", "two"]).check();
        assert!(given(&["one", "two"]).pass(&check));
        // Each of them passes by chance once in 65,536 times; all of them do not.
        let others = [&["one", "other"][..], &["onet", "wo"], &["two", "one"], &["one"], &[]];
        assert!(!others.iter().all(|values| given(values).pass(&check)));
        assert_ne!(check.key, given(&["one", "two"]).check().key);
    }
}
