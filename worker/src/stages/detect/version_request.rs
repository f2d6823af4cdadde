//! A version as a file asks for it, and which of a list it picks.

use nodejs_semver::{Range, Version};

/// Long-term support lines by code name; the newest last. A line that begins later needs a row here to be preferred.
const LTS: [(&str, u64); 11] = [
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];

/// What a file, or a person, writes where a version is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum VersionRequest {
    /// This version and no other.
    Exact(Version),
    /// Any version of a range.
    Range(Range),
    /// The newest long-term support line, or this one.
    LongTerm(Option<u64>),
    /// The newest there is, long-term or not.
    Newest,
}

impl VersionRequest {
    /// What `text` asks for; none when it makes no sense.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "" => return None,
            "node" | "latest" | "current" | "stable" => return Some(Self::Newest),
            "lts" | "lts/*" | "--lts" => return Some(Self::LongTerm(None)),
            _ => {}
        }
        let name = lower.strip_prefix("lts/").or_else(|| lower.strip_prefix("lts-")).unwrap_or(&lower);
        if let Some((_, major)) = LTS.iter().find(|(line, _)| *line == name) {
            return Some(Self::LongTerm(Some(*major)));
        }
        let text = text.strip_prefix(['v', '=']).unwrap_or(text);
        if let Ok(version) = text.parse::<Version>() {
            return Some(Self::Exact(version));
        }
        Range::parse(text).ok().map(Self::Range)
    }

    /// The version it means among `versions` (ascending): within a range, the newest of a long-term support line.
    pub(super) fn pick(&self, versions: &[Version]) -> Option<Version> {
        let newest =
            |fits: &dyn Fn(&Version) -> bool| versions.iter().rev().find(|version| fits(version)).cloned();
        match self {
            Self::Exact(exact) => versions.contains(exact).then(|| exact.clone()),
            Self::Newest => newest(&|_| true),
            Self::LongTerm(None) => newest(&is_long_term),
            Self::LongTerm(Some(major)) => newest(&|version| version.major() == *major),
            Self::Range(range) => newest(&|version| is_long_term(version) && range.satisfies(version))
                .or_else(|| newest(&|version| range.satisfies(version))),
        }
    }

    /// The newest within the request, long-term or not.
    pub(super) fn pick_newest(&self, versions: &[Version]) -> Option<Version> {
        versions.iter().rev().find(|version| self.allows(version)).cloned()
    }

    /// Whether this version is what is asked for.
    pub(super) fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Exact(exact) => exact == version,
            Self::Range(range) => range.satisfies(version),
            Self::LongTerm(None) => is_long_term(version),
            Self::LongTerm(Some(major)) => version.major() == *major,
            Self::Newest => true,
        }
    }
}

fn is_long_term(version: &Version) -> bool {
    LTS.iter().any(|(_, major)| *major == version.major())
}
