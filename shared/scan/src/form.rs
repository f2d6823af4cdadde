//! The forms in which a secret turns up: as it is, and as programs write it down.

use std::fmt;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};

/// Shorter secrets occur by chance and cannot be searched for.
const SHORTEST: usize = 6;
/// Below this an encoded form says too little to be told from chance.
const SHORTEST_ENCODED: usize = 8;
/// Lines of a secret of several lines that are secret by themselves.
const SHORTEST_LINE: usize = 16;

/// How a secret is written in one of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormKind {
    /// The bytes of the variable's value.
    Plain,
    /// One line of a secret that has several, such as a private key.
    Line,
    /// Base64 of either alphabet, at one of its three alignments.
    Base64,
    /// Percent-encoded, as in a URL.
    Percent,
    /// As a string of JSON.
    Json,
    /// Two hexadecimal digits for each byte.
    Hex,
    /// UTF-16 of either byte order.
    Utf16,
}

impl fmt::Display for FormKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Plain => "plain",
            Self::Line => "a line of it",
            Self::Base64 => "base64",
            Self::Percent => "percent-encoded",
            Self::Json => "JSON",
            Self::Hex => "hexadecimal",
            Self::Utf16 => "UTF-16",
        })
    }
}

/// One form of one secret.
#[derive(Clone)]
pub struct Form {
    /// How the bytes follow from the secret.
    pub kind: FormKind,
    /// The bytes to search for; secret themselves.
    pub bytes: SecretSlice<u8>,
}

impl fmt::Debug for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Form").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Every form of `secret`, longest first and each only once; none when it is shorter than six bytes.
pub fn forms_of(secret: &str) -> Vec<Form> {
    let secret = secret.trim_matches(['\n', '\r']);
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let mut found: Vec<(FormKind, Vec<u8>)> = vec![
        (FormKind::Plain, secret.into()),
        (FormKind::Percent, percent(secret, true).into()),
        (FormKind::Percent, percent(secret, false).into()),
        (FormKind::Json, json(secret).into()),
        (FormKind::Hex, hex::encode(secret).into()),
        (FormKind::Hex, hex::encode_upper(secret).into()),
        (FormKind::Utf16, secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (FormKind::Utf16, secret.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ];
    for offset in 0..3 {
        for form in [base64(&STANDARD_NO_PAD, secret, offset), base64(&URL_SAFE_NO_PAD, secret, offset)] {
            if form.len() >= SHORTEST_ENCODED {
                found.push((FormKind::Base64, form.into()));
            }
        }
    }
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim);
        let lines = lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
        found.extend(lines.map(|line| (FormKind::Line, line.into())));
    }
    // Of equal bytes the plainest kind is kept: a token without special characters is its own JSON.
    found.sort_by(|(kind, bytes), (other_kind, other)| {
        other.len().cmp(&bytes.len()).then_with(|| bytes.cmp(other)).then_with(|| kind.cmp(other_kind))
    });
    found.dedup_by(|(_, bytes), (_, kept)| bytes == kept);
    found.into_iter().map(|(kind, bytes)| Form { kind, bytes: bytes.into() }).collect()
}

/// The characters of base64 that depend on `secret` alone when it begins `offset` bytes into a group of three.
fn base64(engine: &impl Engine, secret: &str, offset: usize) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    let encoded = engine.encode(&bytes);
    let first = (offset * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    encoded[first..last].to_owned()
}

fn percent(secret: &str, upper: bool) -> String {
    let mut text = String::with_capacity(secret.len());
    for byte in secret.bytes() {
        let written = if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
            Ok(())
        } else if upper {
            write!(text, "%{byte:02X}")
        } else {
            write!(text, "%{byte:02x}")
        };
        written.unwrap_or_else(|_| unreachable!("a String takes every write"));
    }
    text
}

fn json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl Form {
    /// The bytes, for a comparison.
    pub(crate) fn exposed(&self) -> &[u8] {
        self.bytes.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_to_search_for_has_no_forms() {
        assert!(forms_of("true\n").is_empty());
        assert!(forms_of("").is_empty());
    }

    #[test]
    fn equal_forms_are_kept_once_as_the_plainest() {
        let forms = forms_of("abcdefgh");
        assert_eq!(forms.iter().filter(|form| form.exposed() == b"abcdefgh").count(), 1);
        assert!(forms.iter().any(|form| form.kind == FormKind::Plain));
        assert!(!forms.iter().any(|form| matches!(form.kind, FormKind::Json | FormKind::Percent)));
        assert!(!format!("{forms:?}").contains("abcd"), "Debug shows no form");
    }

    #[test]
    fn a_key_of_several_lines_is_found_by_each_line() {
        let forms = forms_of("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----\n");
        let lines: Vec<_> = forms.iter().filter(|form| form.kind == FormKind::Line).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].exposed(), b"MIIEvQIBADANBgkqhkiG9w0B");
    }
}
