//! One form as the scanner is told of it: how long it is and how it hashes, under a key that is new for each search.

use std::collections::HashMap;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::form::Form;
use crate::rolling::{self, MODULUS, Window};

/// What is compared first of a form that is long enough: its last bytes. Long enough not to be guessed from the hash.
const LONG: usize = 16;
/// Entries of the table that answers for most windows; a power of two.
const FILTER: usize = 1 << 13;

/// The key of one search. It says nothing of a secret by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The base of the polynomial hashes.
    base: u64,
    /// Goes before the bytes of a match into the digest that is reported.
    salt: [u8; 32],
}

impl Key {
    /// A new key from the system's randomness.
    pub fn random() -> Self {
        let mut random = rand::rng();
        Self { base: random.random_range(1 << 32..MODULUS), salt: random.random() }
    }

    /// What a match is confirmed by: SHA-256 of the salt and the bytes, in hexadecimal.
    pub(crate) fn digest(&self, bytes: &[u8]) -> String {
        hex::encode(Sha256::new().chain_update(self.salt).chain_update(bytes).finalize())
    }
}

/// A form without the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Bytes of the form.
    length: usize,
    /// Bytes at its end that are compared first.
    width: usize,
    /// Hash of those.
    end: u64,
    /// Hash of the whole form.
    whole: u64,
}

impl Pattern {
    /// The patterns of `forms`, in their order.
    pub(crate) fn of(key: &Key, forms: &[Form]) -> Vec<Self> {
        let lengths = || forms.iter().map(|form| form.exposed().len());
        let shortest = lengths().min().unwrap_or_default();
        forms
            .iter()
            .map(|form| {
                let bytes = form.exposed();
                // At most two widths, so that each byte is hashed at most twice.
                let width = if bytes.len() >= LONG { LONG } else { shortest };
                Self {
                    length: bytes.len(),
                    width,
                    end: rolling::hash(key.base, &bytes[bytes.len() - width..]),
                    whole: rolling::hash(key.base, bytes),
                }
            })
            .collect()
    }
}

/// Searches bytes for all patterns at once.
pub(crate) struct Matcher {
    key: Key,
    patterns: Vec<Pattern>,
    windows: Vec<Ends>,
    longest: usize,
}

/// The patterns of one width.
struct Ends {
    window: Window,
    /// Whether any pattern's hash has these low bits.
    filter: Vec<bool>,
    by_hash: HashMap<u64, Vec<usize>>,
}

/// A pattern whose whole hash matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    /// Number of the pattern.
    pub(crate) pattern: usize,
    /// Where its bytes begin.
    pub(crate) start: usize,
    /// Where they end.
    pub(crate) end: usize,
    /// What the worker confirms it by.
    pub(crate) digest: String,
}

impl Matcher {
    pub(crate) fn new(key: Key, patterns: &[Pattern]) -> Self {
        // What a request says is bounded before it is used: a width of nothing would match everywhere.
        let sane = |pattern: &Pattern| pattern.width > 0 && pattern.width <= pattern.length;
        let patterns: Vec<Pattern> = patterns.to_vec();
        let mut widths: Vec<usize> = patterns.iter().filter(|one| sane(one)).map(|one| one.width).collect();
        widths.sort_unstable();
        widths.dedup();
        let windows = widths.into_iter().map(|width| Ends::new(key, width, &patterns)).collect();
        let longest = patterns.iter().map(|pattern| pattern.length).max().unwrap_or_default();
        Self { key, patterns, windows, longest }
    }

    /// Bytes of the longest pattern: how much of one piece must be seen again with the next.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Every match in `bytes` that ends after `from`.
    pub(crate) fn matches(&self, bytes: &[u8], from: usize, mut found: impl FnMut(Match)) {
        for ends in &self.windows {
            ends.window.roll(bytes, |end, hash| {
                if !ends.filter[slot(hash)] || end <= from {
                    return;
                }
                for &pattern in ends.by_hash.get(&hash).into_iter().flatten() {
                    let Pattern { length, whole, .. } = self.patterns[pattern];
                    let Some(start) = end.checked_sub(length) else { continue };
                    if rolling::hash(self.key.base, &bytes[start..end]) == whole {
                        let digest = self.key.digest(&bytes[start..end]);
                        found(Match { pattern, start, end, digest });
                    }
                }
            });
        }
    }
}

impl Ends {
    fn new(key: Key, width: usize, patterns: &[Pattern]) -> Self {
        let mut filter = vec![false; FILTER];
        let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
        for (number, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.width == width) {
            filter[slot(pattern.end)] = true;
            by_hash.entry(pattern.end).or_default().push(number);
        }
        Self { window: Window::new(key.base, width), filter, by_hash }
    }
}

fn slot(hash: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
    let low = hash as usize;
    low & (FILTER - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::form::{FormKind, forms_of};

    fn found(secret: &str, bytes: &[u8]) -> Vec<FormKind> {
        let forms = forms_of(secret);
        let key = Key::random();
        let mut found = Vec::new();
        Matcher::new(key, &Pattern::of(&key, &forms)).matches(bytes, 0, |one| {
            assert_eq!(one.digest, key.digest(forms[one.pattern].exposed()));
            found.push(forms[one.pattern].kind);
        });
        found
    }

    #[test]
    fn only_what_is_there_is_found() {
        assert_eq!(found("s3cr3t/of+mine", b"the s3cr3t/of+mine is out"), [FormKind::Plain]);
        assert_eq!(found("s3cr3t/of+mine", b"the s3cr3t/of+mime is not"), []);
        assert_eq!(found("s3cr3t/of+mine", b"a=s3cr3t%2fof%2bmine"), [FormKind::Percent]);
        assert_eq!(found("s3cr3t", b""), []);
        assert_eq!(found("s3cr3t", b"s3cr3"), []);
    }

    #[test]
    fn what_ended_before_is_not_found_again() {
        let forms = forms_of("0123456789abcdef");
        let key = Key::random();
        let matcher = Matcher::new(key, &Pattern::of(&key, &forms));
        let mut count = 0;
        matcher.matches(b"0123456789abcdef and on", 16, |_| count += 1);
        assert_eq!(count, 0);
        matcher.matches(b"0123456789abcdef and on", 15, |_| count += 1);
        assert_eq!(count, 1);
    }

    #[test]
    fn a_pattern_says_nothing_that_the_next_key_repeats() {
        let forms = forms_of("ghp_0123456789abcdefghij");
        let (one, other) = (Key::random(), Key::random());
        assert_ne!(Pattern::of(&one, &forms)[0].whole, Pattern::of(&other, &forms)[0].whole);
    }

    proptest! {
        #[test]
        fn every_form_is_found_wherever_it_stands(
            before in proptest::collection::vec(any::<u8>(), 0..40),
            secret in "[ -~]{8,40}",
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for form in forms_of(&secret) {
                let bytes = [before.as_slice(), form.exposed(), after.as_slice()].concat();
                prop_assert!(found(&secret, &bytes).contains(&form.kind), "{:?}", form.kind);
            }
        }
    }
}
