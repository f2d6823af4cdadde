//! A listing of files, as `list.sh` prints it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Files by area and name, and what git has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    staged: String,
    entries: BTreeMap<(String, String), Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: String,
    /// Without meaning for links.
    mode: String,
    /// The target of a link, the sum of a file.
    content: String,
}

impl Listing {
    /// Reads what the script printed: fields, each ended by a zero byte. None when it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('\0');
        let staged = fields.next().filter(|staged| is_sum(staged))?.to_owned();
        let mut entries: BTreeMap<(String, String), Entry> = BTreeMap::new();
        let mut area = String::new();
        let mut hashed = false;
        while let Some(field) = fields.next().filter(|field| !field.is_empty()) {
            if let Some(name) = field.strip_prefix('@') {
                (area, hashed) = (name.to_owned(), false);
            } else if field.starts_with('#') {
                hashed = true;
            } else if hashed {
                let (sum, name) = field.split_once("  ").filter(|(sum, _)| is_sum(sum))?;
                sum.clone_into(&mut entries.get_mut(&(area.clone(), name.to_owned()))?.content);
            } else {
                let (kind, mode, target) = (fields.next()?, fields.next()?, fields.next()?);
                let mode = if kind == "l" { "" } else { mode };
                let entry =
                    Entry { kind: kind.to_owned(), mode: mode.to_owned(), content: target.to_owned() };
                entries.insert((area.clone(), field.to_owned()), entry);
            }
        }
        Some(Self { staged, entries })
    }

    /// One digest of all of it.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        add(&self.staged);
        for ((area, name), Entry { kind, mode, content }) in &self.entries {
            for text in [area, name, kind, mode, content] {
                add(text);
            }
        }
        hex::encode(hash.finalize())
    }

    /// Name and sum of each regular file of the home.
    pub(super) fn files_of_the_home(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.entries.iter().filter(|((area, _), entry)| area == "home" && entry.kind == "f");
        files.map(|((_, name), entry)| (name.as_str(), entry.content.as_str()))
    }

    /// The name of the first file that is another in `other`, or is in one of them alone.
    pub(super) fn first_difference(&self, other: &Self) -> Option<String> {
        let names = self.entries.keys().chain(other.entries.keys());
        let different = names.filter(|name| self.entries.get(name) != other.entries.get(name)).min();
        match different {
            Some((area, name)) => Some(match area.as_str() {
                "home" => format!("~/{name}"),
                "git" => format!(".git/{}", name.trim_start_matches("./")),
                _ => name.trim_start_matches("./").to_owned(),
            }),
            None if self.staged != other.staged => Some("git's index".to_owned()),
            None => None,
        }
    }
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(changed: &str) -> Listing {
        let sum = "a".repeat(64);
        let text = format!(
            "{sum}\0@home\0.profile\0l\0777\0foo\0.bashrc\0f\0644\0\0#home\0{sum}  .bashrc\0@git\0./{changed}\0f\0644\0\0#git\0{sum}  ./{changed}\0@checkout\0#checkout\0"
        );
        Listing::parse(&text).unwrap()
    }

    #[test]
    fn a_listing_is_read_and_any_difference_is_named() {
        let one = listing("config");
        assert_eq!((one.entries.len(), one.first_difference(&one)), (3, None));
        assert_eq!(one.digest(), listing("config").digest());
        assert_eq!(one.files_of_the_home().collect::<Vec<_>>(), [(".bashrc", "a".repeat(64).as_str())]);
        let other = listing("hooks/x\ny");
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.first_difference(&other).unwrap(), ".git/config");
        let staged = Listing { staged: "b".repeat(64), ..one.clone() };
        assert_eq!(one.first_difference(&staged).unwrap(), "git's index");
    }

    #[test]
    fn what_is_no_listing_is_none() {
        for text in ["", "fatal: not a git repository", "\0@home\0"] {
            assert_eq!(Listing::parse(text), None, "{text}");
        }
    }
}
