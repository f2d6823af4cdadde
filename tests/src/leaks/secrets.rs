//! The search for planted secrets in every byte that a run wrote, in the forms in which they escape in practice: plain,
//! percent-encoded as in addresses, and base64, also amid other text as in `Authorization: Basic`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter ones would be found by chance.
const SHORTEST_SECRET: usize = 12;

/// A secret that a test has handed to the product and then looks for.
pub struct PlantedSecret {
    name: String,
    forms: Vec<(Form, Vec<u8>)>,
}

/// How a secret was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Plain,
    PercentEncoded,
    Base64,
}

/// A secret found where none may be. Does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    pub secret: String,
    pub form: Form,
    pub place: PathBuf,
}

impl PlantedSecret {
    /// # Panics
    /// When `value` is so short that it would be found by chance.
    pub fn new(name: &str, value: &str) -> Self {
        assert!(value.len() >= SHORTEST_SECRET, "planted secret {name}: at least {SHORTEST_SECRET} bytes");
        let percent: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let mut forms = vec![(Form::Plain, value.as_bytes().to_vec())];
        if percent != value {
            forms.push((Form::PercentEncoded, percent.into_bytes()));
        }
        forms.extend(base64_forms(value.as_bytes()).into_iter().map(|form| (Form::Base64, form)));
        Self { name: name.to_owned(), forms }
    }

    /// Its forms as text, for a search by another program; there is no line break in any. Never an argument: arguments are
    /// in process lists.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        self.forms.iter().map(|(_form, bytes)| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The first form of this secret in `bytes`.
    pub fn form_in(&self, bytes: &[u8]) -> Option<Form> {
        self.forms.iter().find(|(_form, needle)| contains(bytes, needle)).map(|&(form, _)| form)
    }
}

impl fmt::Debug for PlantedSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PlantedSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every file under `places` (files or directories) that holds one of `secrets`, and every path that does.
///
/// Links are not followed; what cannot be read is skipped only if it vanished meanwhile.
pub fn disclosures(secrets: &[PlantedSecret], places: &[&Path]) -> std::io::Result<Vec<Disclosure>> {
    let mut found = Vec::new();
    for place in places {
        search(secrets, place, &mut found)?;
    }
    Ok(found)
}

fn search(secrets: &[PlantedSecret], place: &Path, found: &mut Vec<Disclosure>) -> std::io::Result<()> {
    let kind = match std::fs::symlink_metadata(place) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    note(secrets, place, place.as_os_str().as_encoded_bytes(), found);
    if kind.is_dir() {
        for entry in std::fs::read_dir(place)? {
            search(secrets, &entry?.path(), found)?;
        }
    } else if kind.is_file() {
        note(secrets, place, &std::fs::read(place)?, found);
    } else if kind.is_symlink() {
        note(secrets, place, std::fs::read_link(place)?.as_os_str().as_encoded_bytes(), found);
    }
    Ok(())
}

fn note(secrets: &[PlantedSecret], place: &Path, bytes: &[u8], found: &mut Vec<Disclosure>) {
    found.extend(secrets.iter().filter_map(|secret| {
        let form = secret.form_in(bytes)?;
        Some(Disclosure { secret: secret.name.clone(), form, place: place.to_owned() })
    }));
}

/// What a secret looks like within base64 of a longer text: three bytes make four characters, so there are three
/// alignments; the characters at both ends that also depend on the neighbours are left off.
fn base64_forms(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    for bytes_before in 0..3 {
        let text = [&[0; 3][..bytes_before], secret].concat();
        let first = (bytes_before * 8).div_ceil(6);
        let end = text.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            forms.insert(encoded.as_bytes()[first..end].to_vec());
        }
    }
    forms
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else { return false };
    let mut bytes = bytes;
    while let Some(start) = bytes.iter().position(|&byte| byte == first) {
        bytes = &bytes[start + 1..];
        if bytes.starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t/with+odd=chars";

    #[test]
    fn finds_every_form_at_every_alignment() {
        let secret = PlantedSecret::new("token", SECRET);
        for user in ["", "x", "me", "git", "oauth2", "x-access-token"] {
            for after in ["", "!", "!!"] {
                let text = format!("{user}:{SECRET}{after}");
                let encoded = STANDARD_NO_PAD.encode(&text);
                assert_eq!(secret.form_in(encoded.as_bytes()), Some(Form::Base64), "{text}");
                assert_eq!(secret.form_in(text.as_bytes()), Some(Form::Plain), "{text}");
            }
        }
        assert_eq!(
            secret.form_in(b"https://u:s3cr3t%2Fwith%2Bodd%3Dchars@host/"),
            Some(Form::PercentEncoded)
        );
        assert_eq!(secret.form_in(b"s3cr3t/with+odd=char"), None);
    }

    #[test]
    fn files_names_and_link_targets_are_searched_no_secret_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let nested = directory.path().join("a/b");
        std::fs::create_dir_all(&nested).unwrap();
        std::fs::write(nested.join("log"), [b"\xff\x00".as_slice(), b"planted-secret-1", b"\xfe"].concat())
            .unwrap();
        std::fs::write(nested.join("planted-secret-1"), "").unwrap();
        std::os::unix::fs::symlink("/planted-secret-1", nested.join("link")).unwrap();
        std::fs::write(nested.join("harmless"), "planted-secret-").unwrap();

        let secret = [PlantedSecret::new("password", "planted-secret-1")];
        let mut found = disclosures(&secret, &[directory.path()]).unwrap();
        found.sort_by(|one, other| one.place.cmp(&other.place));
        let places: Vec<_> = found.iter().map(|found| found.place.file_name().unwrap().to_owned()).collect();
        assert_eq!(places, ["link", "log", "planted-secret-1"]);
        assert!(!format!("{secret:?}").contains("planted-secret-1"));
    }
}
