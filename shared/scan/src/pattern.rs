//! One form as the scanner is told of it: its length, sixteen bits of a hash of its end, and a digest, under a key that
//! is new for each search.
//!
//! Why not rolling hashes alone, as Rabin and Karp have it: those are linear in the bytes, and several forms of one secret
//! give several equations for the same unknowns. The sixteen bits decide what is looked at, SHA-256 what it is.

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::form::Form;

/// Bytes at the end of a form that are compared first. Forms that are shorter are not searched for.
pub(crate) const WINDOW: usize = 8;

/// The key of one search. It says nothing of a secret by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Mixed into each window before it is hashed; the second and third are odd.
    window: [u64; 3],
    /// Goes before a form into the digest that it is recognised by.
    known: [u8; 32],
    /// Goes before the bytes of a match into the digest that is reported, so that who only repeats a request proves nothing.
    reported: [u8; 32],
}

/// A form without the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Bytes of the form.
    pub(crate) length: usize,
    /// Hash of its last eight.
    pub(crate) end: u16,
    /// Digest of all of them.
    pub(crate) digest: [u8; 32],
}

impl Key {
    /// A new key from the system's randomness.
    pub fn random() -> Self {
        let mut random = rand::rng();
        let window = [random.random(), random.random::<u64>() | 1, random.random::<u64>() | 1];
        Self { window, known: random.random(), reported: random.random() }
    }

    /// What a match is confirmed by, in hexadecimal.
    pub(crate) fn report_of(&self, bytes: &[u8]) -> String {
        hex::encode(digest(&self.reported, bytes))
    }

    pub(crate) fn slot(&self, window: [u8; WINDOW]) -> u16 {
        let [mask, first, second] = self.window;
        let mixed = (u64::from_le_bytes(window) ^ mask).wrapping_mul(first);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(second);
        (mixed >> 48) as u16
    }

    /// What a form is recognised by.
    pub(crate) fn digest_of(&self, bytes: &[u8]) -> [u8; 32] {
        digest(&self.known, bytes)
    }
}

fn digest(salt: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(bytes).finalize().into()
}

pub(crate) fn last_window(bytes: &[u8]) -> Option<[u8; WINDOW]> {
    bytes.last_chunk().copied()
}

impl Pattern {
    /// The pattern of a form; none when it is too short to be told from chance.
    pub(crate) fn of(key: &Key, form: &Form) -> Option<Self> {
        let bytes = form.exposed();
        let end = key.slot(last_window(bytes)?);
        Some(Self { length: bytes.len(), end, digest: key.digest_of(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::forms_of;

    #[test]
    fn a_pattern_says_nothing_that_the_next_key_repeats() {
        let form = &forms_of("ghp_0123456789abcdefghij")[0];
        let digest = || Pattern::of(&Key::random(), form).unwrap().digest;
        assert_ne!(digest(), digest());
    }
}
