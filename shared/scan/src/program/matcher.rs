//! Searches bytes for all patterns at once: one table look-up for each byte, a digest only where the table says so.

use std::collections::HashMap;

use crate::pattern::{Key, Pattern, WINDOW, last_window};

/// Values that the hash of a window may have.
const SLOTS: usize = 1 << 16;

/// A pattern whose digest matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    /// Number of the pattern.
    pub(super) pattern: usize,
    /// Where its bytes begin.
    pub(super) start: usize,
    /// What the worker confirms it by.
    pub(super) digest: String,
}

/// Searches bytes for all patterns at once.
pub(super) struct Matcher {
    key: Key,
    patterns: Vec<Pattern>,
    /// One bit for each slot: whether any pattern ends so.
    filter: Vec<u64>,
    by_slot: HashMap<u16, Vec<usize>>,
    longest: usize,
}

impl Matcher {
    pub(super) fn new(key: Key, patterns: &[Pattern]) -> Self {
        let mut filter = vec![0_u64; SLOTS / 64];
        let mut by_slot: HashMap<u16, Vec<usize>> = HashMap::new();
        for (number, pattern) in patterns.iter().enumerate() {
            filter[usize::from(pattern.end) / 64] |= 1 << (pattern.end % 64);
            by_slot.entry(pattern.end).or_default().push(number);
        }
        let longest = patterns.iter().map(|pattern| pattern.length).max().unwrap_or_default();
        Self { key, patterns: patterns.to_vec(), filter, by_slot, longest }
    }

    /// Bytes of the longest pattern: how much of one piece must be seen again with the next.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Every match in `bytes` that ends after `from`.
    pub(super) fn matches(&self, bytes: &[u8], from: usize, mut found: impl FnMut(Match)) {
        let first = from.saturating_sub(WINDOW - 1);
        for (start, window) in bytes[first..].windows(WINDOW).enumerate() {
            let Some(window) = last_window(window) else { continue };
            let slot = self.key.slot(window);
            if self.filter[usize::from(slot) / 64] & (1 << (slot % 64)) == 0 {
                continue;
            }
            let end = first + start + WINDOW;
            for &pattern in self.by_slot.get(&slot).into_iter().flatten() {
                let known = self.patterns[pattern];
                let Some(start) = end.checked_sub(known.length) else { continue };
                if end > from && self.key.digest_of(&bytes[start..end]) == known.digest {
                    let digest = self.key.report_of(&bytes[start..end]);
                    found(Match { pattern, start, digest });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::form::{Form, FormKind, forms_of};

    fn matcher(key: Key, forms: &[Form]) -> Matcher {
        Matcher::new(key, &forms.iter().filter_map(|form| Pattern::of(&key, form)).collect::<Vec<_>>())
    }

    fn found(secret: &str, bytes: &[u8]) -> Vec<FormKind> {
        let forms = forms_of(secret);
        let key = Key::random();
        let mut found = Vec::new();
        matcher(key, &forms).matches(bytes, 0, |one| {
            assert_eq!(one.digest, key.report_of(forms[one.pattern].exposed()));
            found.push(forms[one.pattern].kind);
        });
        found
    }

    #[test]
    fn only_what_is_there_is_found() {
        assert_eq!(found("s3cr3t/of+mine", b"the s3cr3t/of+mine is out"), [FormKind::Plain]);
        assert_eq!(found("s3cr3t/of+mine", b"the s3cr3t/of+mime is not"), []);
        assert_eq!(found("s3cr3t/of+mine", b"a=s3cr3t%2fof%2bmine"), [FormKind::Percent]);
        assert_eq!(found("s3cr3t/of+mine", b""), []);
        assert_eq!(found("s3cr3t/of+mine", b"of+mine"), []);
    }

    #[test]
    fn what_ended_before_is_not_found_again() {
        let forms = forms_of("0123456789abcdef");
        let key = Key::random();
        let matcher = matcher(key, &forms);
        let mut count = 0;
        matcher.matches(b"0123456789abcdef and on", 16, |_| count += 1);
        assert_eq!(count, 0);
        matcher.matches(b"0123456789abcdef and on", 15, |_| count += 1);
        assert_eq!(count, 1);
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
