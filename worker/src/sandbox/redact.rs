//! Keeps known secrets out of everything that leaves a sandbox. It works in the worker, so it may know all of them.
//!
//! A secret is looked for as it is, in base64 at each of its three alignments, percent-encoded and as JSON writes it:
//! the forms in which git, npm and build tools repeat what they were given.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

/// Shorter values occur by chance; they are hidden where they stand alone as they are, but not searched for.
const SHORTEST: usize = 6;
/// Below this an encoded form says too little to be told from chance.
const SHORTEST_ENCODED: usize = 8;
/// Lines of a multi-line secret that are secret by themselves.
const SHORTEST_LINE: usize = 16;
const MARK: &str = "[redacted]";

/// Every known secret, in every form it may turn up in.
#[derive(Default)]
pub struct Redactor {
    /// Longest first, so that a form within a longer one does not spoil it.
    forms: Vec<SecretString>,
    names: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.names).finish_non_exhaustive()
    }
}

impl Redactor {
    /// A redactor of these secrets, by the names of their variables.
    pub fn new(secrets: &BTreeMap<String, SecretString>) -> Self {
        Self::of(secrets.values())
    }

    /// A redactor of these secrets.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut names = 0;
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets {
            names += 1;
            forms.extend(forms_of(secret.expose_secret()));
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms: forms.into_iter().map(SecretString::from).collect(), names }
    }

    /// The text with a mark in place of every known secret.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.forms {
            if text.contains(form.expose_secret()) {
                text = text.replace(form.expose_secret(), MARK);
            }
        }
        text
    }

    /// Bytes of the longest form: how much of a cut text's beginning may hide half a secret.
    pub(crate) fn longest(&self) -> usize {
        self.forms.first().map_or(0, |form| form.expose_secret().len())
    }
}

fn forms_of(secret: &str) -> Vec<String> {
    let secret = secret.trim_matches(['\n', '\r']);
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms = vec![secret.to_owned(), percent_encode(secret), json_escape(secret)];
    for offset in 0..3 {
        for form in
            [base64_within(&STANDARD_NO_PAD, secret, offset), base64_within(&URL_SAFE_NO_PAD, secret, offset)]
        {
            if form.len() >= SHORTEST_ENCODED {
                forms.push(form);
            }
        }
    }
    let lines = secret.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
    if secret.contains('\n') {
        forms.extend(lines.map(str::to_owned));
    }
    forms
}

/// The characters of base64 that depend on `secret` alone when it begins `offset` bytes into a group of three.
fn base64_within(engine: &impl Engine, secret: &str, offset: usize) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    let encoded = engine.encode(&bytes);
    let first = (offset * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    encoded[first..last].to_owned()
}

fn percent_encode(secret: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(secret.len());
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else if write!(text, "%{byte:02X}").is_err() {
            unreachable!("a String takes every write");
        }
    }
    text
}

fn json_escape(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn redactor(secret: &str) -> Redactor {
        Redactor::of([&SecretString::from(secret.to_owned())])
    }

    #[test]
    fn no_form_of_a_secret_survives() {
        let secret = "p@ss/w\"örd+1234";
        let redactor = redactor(secret);
        for text in [
            format!("password is {secret}."),
            format!("https://user:{}@host/", percent_encode(secret)),
            format!("Authorization: Basic {}", STANDARD.encode(format!("user:{secret}"))),
            format!("Authorization: Basic {}", STANDARD.encode(format!("us:{secret}:more"))),
            format!("{{\"password\":{}}}", serde_json::Value::from(secret)),
        ] {
            let scrubbed = redactor.scrub(&text);
            assert!(scrubbed.contains(MARK), "{scrubbed}");
            assert!(!scrubbed.contains(secret) && !scrubbed.contains("d+1234"), "{scrubbed}");
        }
        assert!(!format!("{redactor:?}").contains("ss/w"));
    }

    #[test]
    fn each_line_of_a_key_is_a_secret_but_its_frame_is_not() {
        let redactor = redactor(
            "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----\n",
        );
        assert_eq!(redactor.scrub("x AgEAAoIBAQC7VJTUt9Us8cKj x"), format!("x {MARK} x"));
        assert_eq!(redactor.scrub("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    }

    #[test]
    fn what_is_too_short_to_be_told_from_chance_is_left() {
        for short in ["true", ""] {
            assert_eq!(redactor(short).scrub("it is true"), "it is true");
        }
    }

    proptest! {
        #[test]
        fn base64_is_found_at_every_alignment(before in ".{0,7}", secret in "[ -~]{8,40}", after in ".{0,7}") {
            let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
            prop_assert!(redactor(&secret).scrub(&encoded).contains(MARK));
        }
    }
}
