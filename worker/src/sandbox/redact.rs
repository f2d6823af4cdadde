//! Keeps known secrets out of everything that leaves a sandbox. It works in the worker, so it may know all of them.
//!
//! A secret is looked for in the same forms in which the search of a prebuild looks for it ([`scan::forms_of`]): those in which
//! git, npm and build tools repeat what they were given.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

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
            // Output is text by now: a form that is none cannot be in it.
            let bytes = scan::forms_of(secret.expose_secret()).into_iter().map(|form| form.bytes);
            forms.extend(bytes.filter_map(|bytes| String::from_utf8(bytes.expose_secret().to_vec()).ok()));
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

#[cfg(test)]
mod tests {
    use base64::Engine;
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
            "https://user:p%40ss%2Fw%22%C3%B6rd%2B1234@host/".to_owned(),
            format!("in hexadecimal {}", hex::encode(secret)),
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
