//! Secrets have owners: which secret may open which git URLs, and which repositories' builds may be given it.
//!
//! A job is a message, and whoever may publish one chooses its clone URL, its commands and the names of its secrets. So what a
//! secret is for is said here, in the worker's own settings, and a secret that nothing is said of goes nowhere.

use std::collections::BTreeMap;
use std::fmt;

use job::{DEFAULT_HOST, RepositoryUrl, Target, UnclearUrl, UrlScheme};
use serde::Deserialize;
use thiserror::Error;

/// The section `[secrets]` of the worker's settings: a rule for each variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretRules(BTreeMap<String, SecretRule>);

/// What one secret is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretRule {
    /// As a git token: the URLs it may open, and everything beneath them.
    pub git: Vec<UrlPrefix>,
    /// As a build's secret: the repositories whose builds may be given it.
    pub repositories: Vec<RepositoryPattern>,
}

/// A repository, an owner or a whole host, by URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UrlPrefix(RepositoryUrl);

/// Repositories, as targets are written (`*` for any part of a name), or by URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum RepositoryPattern {
    /// `owner/name` or `host/owner/name`, cloned from where a target of that name lies: `https://host/owner/name`.
    Named {
        /// The git host, in lower case.
        host: String,
        /// The names of the path; `*` stands for any characters but a slash.
        segments: Vec<String>,
    },
    /// Whatever is cloned from beneath this URL.
    Beneath(UrlPrefix),
}

/// Why a rule's text is none; every message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidRule {
    /// Not a URL that everyone reads alike.
    #[error("a URL here {0}")]
    Url(#[from] UnclearUrl),
    /// A pattern where a beginning is meant.
    #[error(
        "a URL here is a beginning and not a pattern: leave `*` out, and end it where everything beneath is meant"
    )]
    Star,
    /// A git token for a folder, which needs none.
    #[error("a git token is for https:// (or http://), a folder needs none")]
    Folder,
    /// Not the way targets are written.
    #[error("write owner/name, host/owner/name or a URL, with `*` for any part of a name: \"acme/*\"")]
    Pattern,
}

/// A use of a secret that no rule of the worker's settings covers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRule {
    /// Nothing is said of it.
    #[error("no rule covers {place}. If one should: {advice} under [secrets.{name}] in worker.toml")]
    Uncovered {
        /// The variable that was asked for.
        name: String,
        /// What it was asked for: a URL or a repository.
        place: String,
        /// What to write: the line, whole, with what is in it already.
        advice: String,
    },
    /// Nothing can be said of it: its URL can be read in more than one way.
    #[error("the URL {url} {why}; correct it in fleet.toml")]
    Unclear {
        /// The URL as far as it may be shown.
        url: String,
        /// What keeps it from being read.
        why: UnclearUrl,
    },
}

impl SecretRules {
    /// The rule for this variable.
    pub fn of(&self, name: &str) -> Option<&SecretRule> {
        self.0.get(name)
    }

    /// Every rule with its variable.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretRule)> {
        self.0.iter().map(|(name, rule)| (name.as_str(), rule))
    }

    /// Whether this variable may be the git token for a URL.
    pub fn check_url(&self, name: &str, url: &str) -> Result<(), NoRule> {
        let read: Result<RepositoryUrl, _> = url.parse();
        let prefixes = self.of(name).map(|rule| rule.git.as_slice()).unwrap_or_default();
        match &read {
            Ok(read) if prefixes.iter().any(|prefix| read.is_within(&prefix.0)) => Ok(()),
            Ok(read) => Err(no_rule(name, "git", prefixes, read.to_string(), read.to_string())),
            Err(why) => Err(NoRule::Unclear { url: shorten(url), why: *why }),
        }
    }

    /// Whether a build of this target, cloned from `url`, may be given this variable.
    pub fn check_build(&self, name: &str, target: &Target, url: &str) -> Result<(), NoRule> {
        let patterns = self.of(name).map(|rule| rule.repositories.as_slice()).unwrap_or_default();
        match url.parse::<RepositoryUrl>() {
            Ok(read) if patterns.iter().any(|pattern| pattern.covers(target, &read)) => Ok(()),
            Ok(read) => {
                let repository = target.repository();
                let (place, add) = if read.is_usual_place_of(target) {
                    (repository.clone(), repository)
                } else {
                    (format!("{repository} as cloned from {read}"), read.to_string())
                };
                Err(no_rule(name, "repositories", patterns, place, add))
            }
            Err(why) => Err(NoRule::Unclear { url: shorten(url), why }),
        }
    }
}

/// A line with more entries than this is not repeated whole: messages are bounded.
const ENTRIES_REPEATED: usize = 5;

/// The refusal, with the line as it would be: what is in it, and what is missing.
fn no_rule<T: fmt::Display>(name: &str, key: &str, has: &[T], place: String, add: String) -> NoRule {
    let advice = if has.len() > ENTRIES_REPEATED {
        format!("add \"{add}\" to {key}")
    } else {
        let entries = has.iter().map(ToString::to_string).chain([add]);
        let quoted: Vec<String> = entries.map(|entry| format!("\"{entry}\"")).collect();
        format!("{key} = [{}]", quoted.join(", "))
    };
    NoRule::Uncovered { name: name.to_owned(), place, advice }
}

/// A URL that may be anything, and may hold a password.
fn shorten(url: &str) -> String {
    let shown: String = url.chars().filter(|c| !c.is_control()).take(60).collect();
    match shown.split_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => shown,
    }
}

impl SecretRule {
    /// Whether it allows nothing, so that it is most likely unfinished.
    pub fn is_empty(&self) -> bool {
        self.git.is_empty() && self.repositories.is_empty()
    }
}

impl RepositoryPattern {
    /// The target's name alone is only a word of the message: the clone URL decides what is built, and has to agree.
    fn covers(&self, target: &Target, url: &RepositoryUrl) -> bool {
        match self {
            Self::Beneath(prefix) => url.is_within(&prefix.0),
            Self::Named { host, segments } => {
                let own: Vec<&str> = target.path().split('/').collect();
                let ignores_case = target.ignores_case();
                *host == target.host()
                    && segments.len() == own.len()
                    && segments.iter().zip(own).all(|(pattern, name)| {
                        if ignores_case {
                            is_match(&pattern.to_ascii_lowercase(), &name.to_ascii_lowercase())
                        } else {
                            is_match(pattern, name)
                        }
                    })
                    && url.is_usual_place_of(target)
            }
        }
    }
}

/// Whether `name` is `pattern`, in which each `*` stands for any characters.
fn is_match(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            left.char_indices().map(|(at, _)| at).chain([left.len()]).any(|at| is_match(rest, &left[at..]))
        }),
    }
}

impl TryFrom<String> for UrlPrefix {
    type Error = InvalidRule;

    fn try_from(text: String) -> Result<Self, InvalidRule> {
        if text.contains('*') {
            return Err(InvalidRule::Star);
        }
        let url: RepositoryUrl = text.parse()?;
        if url.scheme() == UrlScheme::File { Err(InvalidRule::Folder) } else { Ok(Self(url)) }
    }
}

impl TryFrom<String> for RepositoryPattern {
    type Error = InvalidRule;

    fn try_from(text: String) -> Result<Self, InvalidRule> {
        if text.contains("://") {
            if text.contains('*') {
                return Err(InvalidRule::Star);
            }
            return Ok(Self::Beneath(UrlPrefix(text.parse()?)));
        }
        let is_host = |name: &str| name.contains(['.', ':']) || name == "localhost";
        let segments: Vec<&str> = text.split('/').collect();
        let (host, segments) = match segments.as_slice() {
            [host, path @ ..] if path.len() >= 2 && is_host(host) => (host.to_ascii_lowercase(), path),
            path if path.len() == 2 => (DEFAULT_HOST.to_owned(), path),
            _ => return Err(InvalidRule::Pattern),
        };
        let is_name = |segment: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*');
            !segment.is_empty() && segment.bytes().all(plain) && !segment.contains("**")
        };
        if host.contains('*') || !segments.iter().all(is_name) {
            return Err(InvalidRule::Pattern);
        }
        Ok(Self::Named { host, segments: segments.iter().map(|segment| (*segment).to_owned()).collect() })
    }
}

/// As it may stand in a rule.
impl fmt::Display for UrlPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As it may stand in a rule.
impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { host, segments } if host == DEFAULT_HOST => f.write_str(&segments.join("/")),
            Self::Named { host, segments } => write!(f, "{host}/{}", segments.join("/")),
            Self::Beneath(prefix) => prefix.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<SecretRules, toml::de::Error> {
        toml::from_str(text)
    }

    fn target(repository: &str) -> Target {
        let (host, path) = match repository.split('/').count() {
            2 => (DEFAULT_HOST, repository),
            _ => repository.split_once('/').unwrap(),
        };
        Target::new(host, path, "main").unwrap()
    }

    #[test]
    fn a_git_token_opens_what_its_rule_names_and_no_more() {
        let rules =
            rules("[T]\ngit = ['https://github.com/acme/', 'https://git.example/platform/app.git']").unwrap();
        for (url, expected) in [
            ("https://github.com/acme/app.git", true),
            ("https://github.com/ACME/app", true),
            ("https://github.com/acme-evil/app.git", false),
            ("https://github.com/other/app.git", false),
            ("http://github.com/acme/app.git", false),
            ("https://github.com:8443/acme/app.git", false),
            ("https://git.example/platform/app", true),
            ("https://git.example/platform/app-2", false),
            ("https://evil.example/acme/app", false),
        ] {
            assert_eq!(rules.check_url("T", url).is_ok(), expected, "{url}");
        }
        assert!(rules.check_url("U", "https://github.com/acme/app").is_err());
    }

    #[test]
    fn a_build_is_given_a_secret_by_name_and_clone_url_together() {
        let rules =
            rules("[T]\nrepositories = ['acme/*', 'acme2/app-*', 'git.example/group/*/*', 'https://ghe.example/acme']").unwrap();
        for (repository, url, expected) in [
            ("acme/app", "https://github.com/acme/app.git", true),
            ("Acme/App", "https://github.com/acme/app.git", true),
            // The name is a word of the message: what is cloned has to be of that name too.
            ("acme/app", "https://evil.example/acme/app.git", false),
            ("acme/app", "https://github.com/evil/app.git", false),
            ("acme/app", "https://github.com/acme/other.git", false),
            ("acme/app", "http://github.com/acme/app.git", false),
            ("evil/app", "https://github.com/acme/app.git", false),
            ("acme-evil/app", "https://github.com/acme-evil/app.git", false),
            ("acme2/app-one", "https://github.com/acme2/app-one", true),
            ("acme2/other", "https://github.com/acme2/other", false),
            ("git.example/group/sub/app", "https://git.example/group/sub/app.git", true),
            ("git.example/group/app", "https://git.example/group/app.git", false),
            ("git.example/Group/sub/app", "https://git.example/Group/sub/app.git", false),
            ("git.example/group/sub/app", "https://git.example:8443/group/sub/app.git", false),
            // Named by URL, whatever the target is called.
            ("acme3/app", "https://ghe.example/acme/app.git", true),
            ("acme3/app", "https://ghe.example/acme2/app.git", false),
        ] {
            let given = rules.check_build("T", &target(repository), url);
            assert_eq!(given.is_ok(), expected, "{repository} from {url}");
        }
    }

    #[test]
    fn stars_stand_for_parts_of_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "app", true),
            ("a*p", "app", true),
            ("a*p", "apq", false),
            ("*-web-*", "a-web-b", true),
            ("*-web", "a-web-web", true),
            ("app", "apps", false),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_would_be() {
        let mistakes = [
            "[T]\ngit = ['https://github.com/*']",
            "[T]\ngit = ['github.com/acme']",
            "[T]\ngit = ['https://user@github.com/acme']",
            "[T]\ngit = ['https://github.com/acme/../other']",
            "[T]\ngit = ['file:///srv/git']",
            "[T]\nrepositories = ['*']",
            "[T]\nrepositories = ['acme']",
            "[T]\nrepositories = ['*/*/*']",
            "[T]\nrepositories = ['acme/**']",
            "[T]\nrepositories = ['acme/']",
            "[T]\nrepositories = ['*.example/acme/app']",
            "[T]\nrepositories = ['https://github.com/acme/*']",
            "[T]\nhosts = ['github.com']",
            "[T]\ngit = 'https://github.com/'",
        ];
        let told: Vec<String> = mistakes
            .iter()
            .map(|text| {
                rules(text).map_or_else(|error| error.message().to_owned(), |rules| format!("{rules:?}"))
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
