//! The worker's half: from secrets to a request without them, and from a report to what it proves.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::form::{Form, FormKind, forms_of};
use crate::pattern::{Key, Pattern};
use crate::report::{Hit, Report};

/// What the program is told, in a file that it removes as soon as it has read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The key of this search.
    pub key: Key,
    /// What is searched for.
    pub patterns: Vec<Pattern>,
    /// Where the search begins, absolute paths.
    pub roots: Vec<String>,
    /// Folders that are left out, absolute paths: what the kernel makes up, and the scanner's own.
    pub skipped: Vec<String>,
    /// The search ends unfinished after this many milliseconds.
    pub milliseconds: u64,
    /// The search ends unfinished after this many bytes, unpacked ones included.
    pub bytes: u64,
    /// Bytes that are unpacked of one archive at most.
    pub unpacked_bytes: u64,
}

/// A search for some secrets, under a key of its own.
pub struct Search {
    key: Key,
    forms: Vec<Form>,
    patterns: Vec<Pattern>,
}

impl fmt::Debug for Search {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Search").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

/// A match that was compared with the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed<'a> {
    /// Where in the tree it is.
    pub hit: &'a Hit,
    /// The form that it has there.
    pub kind: FormKind,
}

impl fmt::Display for Confirmed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}, {})", self.hit.path, self.kind, self.hit.place)
    }
}

impl Search {
    /// A search for these secrets in all their forms; none when there is nothing that can be searched for.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Option<Self> {
        use secrecy::ExposeSecret as _;
        let mut forms: Vec<Form> =
            secrets.into_iter().flat_map(|secret| forms_of(secret.expose_secret())).collect();
        forms.sort_by(|left, right| left.exposed().cmp(right.exposed()));
        forms.dedup_by(|left, right| left.exposed() == right.exposed());
        let key = Key::random();
        let (forms, patterns): (Vec<_>, Vec<_>) = forms
            .into_iter()
            .filter_map(|form| Pattern::of(&key, &form).map(|pattern| (form, pattern)))
            .unzip();
        (!patterns.is_empty()).then_some(Self { key, forms, patterns })
    }

    /// The request for a search of the whole file system, with the program's own folder left out.
    pub fn request(&self, own_folder: &str, limits: Limits) -> Request {
        let Limits { milliseconds, bytes, unpacked_bytes } = limits;
        Request {
            key: self.key,
            patterns: self.patterns.clone(),
            roots: vec!["/".to_owned()],
            skipped: ["/proc", "/sys", "/dev", own_folder].map(ToOwned::to_owned).into(),
            milliseconds,
            bytes,
            unpacked_bytes,
        }
    }

    /// The matches that are what they claim to be. Whoever writes a report without knowing a secret cannot forge one.
    pub fn confirm<'a>(&self, report: &'a Report) -> Vec<Confirmed<'a>> {
        let confirmed = report.hits.iter().filter_map(|hit| {
            let form = self.forms.get(hit.pattern)?;
            (self.key.report_of(form.exposed()) == hit.digest).then_some(Confirmed { hit, kind: form.kind })
        });
        confirmed.collect()
    }
}

/// How far a search goes before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds for the whole search.
    pub milliseconds: u64,
    /// Bytes that are searched, unpacked ones included.
    pub bytes: u64,
    /// Bytes that one archive may unpack to.
    pub unpacked_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Place;

    fn search(secrets: &[&str]) -> Option<Search> {
        let secrets: Vec<SecretString> = secrets.iter().map(|&secret| SecretString::from(secret)).collect();
        Search::new(&secrets)
    }

    #[test]
    fn nothing_to_search_for_is_no_search() {
        assert!(search(&[]).is_none());
        assert!(search(&["short"]).is_none());
    }

    #[test]
    fn a_request_holds_no_secret_in_any_form() {
        let secret = "ghp_0123456789abcdefghij";
        let search = search(&[secret]).unwrap();
        let limits = Limits { milliseconds: 1, bytes: 1, unpacked_bytes: 1 };
        let request = serde_json::to_vec(&search.request("/tmp/x", limits)).unwrap();
        for form in forms_of(secret) {
            assert!(!request.windows(form.exposed().len()).any(|window| window == form.exposed()));
        }
    }

    #[test]
    fn only_what_hashes_as_the_secret_is_confirmed() {
        let search = search(&["ghp_0123456789abcdefghij"]).unwrap();
        let hit =
            |digest: String| Hit { path: "/f".to_owned(), place: Place::Content(0), pattern: 0, digest };
        let report = Report {
            hits: vec![
                hit("00".repeat(32)),
                hit(search.key.report_of(search.forms[0].exposed())),
                Hit { pattern: 999, ..hit(String::new()) },
            ],
            ..Report::default()
        };
        let confirmed = search.confirm(&report);
        assert_eq!(confirmed.len(), 1);
        assert_eq!(confirmed[0].hit, &report.hits[1]);
    }
}
