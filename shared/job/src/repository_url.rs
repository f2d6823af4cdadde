//! The URL of a repository, or of everything beneath one, for deciding which secret may go there.
//!
//! Git, curl, a proxy and a git host each read dots, slashes, escapes and users in a URL in their own way. So what could be read
//! in two ways is refused here, and never tidied up: what is left means the same to all of them.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::Target;
use crate::target::ignores_case;

/// A URL that everyone reads alike. The ending `.git` of a segment is left out: hosts take both spellings for one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryUrl {
    scheme: UrlScheme,
    authority: String,
    segments: Vec<String>,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlScheme {
    /// HTTP over TLS, where nobody on the way reads along.
    Https,
    /// Plain HTTP, where everybody on the way reads along.
    Http,
    /// A folder that worker and sandbox both see.
    File,
}

/// Why a URL is not taken; every message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnclearUrl {
    /// Of another scheme, or of none.
    #[error("must begin with https:// (or http://, file://)")]
    Scheme,
    /// A user or password stands before the host.
    #[error("must not hold a user or a password")]
    User,
    /// The host is none, or written in an unusual way.
    #[error("must name a host such as git.example.com or git.example.com:8443")]
    Host,
    /// The path can be read in more than one way.
    #[error(
        "must have a plain path: no `.`, `..`, empty or escaped segments, no query, and letters, digits, `-`, `_`, `.`, `~`, `+` and `@` only"
    )]
    Path,
}

impl UrlScheme {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Https => "https://",
            Self::Http => "http://",
            Self::File => "file://",
        }
    }

    const fn usual_port(self) -> Option<&'static str> {
        match self {
            Self::Https => Some(":443"),
            Self::Http => Some(":80"),
            Self::File => None,
        }
    }
}

impl RepositoryUrl {
    /// How the repository is reached.
    pub fn scheme(&self) -> UrlScheme {
        self.scheme
    }

    /// The host in lower case, with its port unless that is the usual one; empty for a folder.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path without slashes at its ends, nothing escaped.
    pub fn path(&self) -> String {
        self.segments.join("/")
    }

    /// Whether this is `prefix`, or a place beneath it. Schemes are never mixed, and names end at slashes.
    pub fn is_within(&self, prefix: &Self) -> bool {
        self.scheme == prefix.scheme
            && self.authority == prefix.authority
            && self.segments.len() >= prefix.segments.len()
            && self.segments.iter().zip(&prefix.segments).all(|(own, other)| self.is_same_name(own, other))
    }

    /// Whether both are one repository.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.is_within(other) && self.segments.len() == other.segments.len()
    }

    /// Whether this is where a target of that name lies unless somebody says otherwise: `https://host/owner/name`.
    pub fn is_usual_place_of(&self, target: &Target) -> bool {
        let names: Vec<&str> = target.path().split('/').collect();
        self.scheme == UrlScheme::Https
            && self.authority == target.host().trim_end_matches(":443")
            && self.segments.len() == names.len()
            && self.segments.iter().zip(names).all(|(own, other)| self.is_same_name(own, other))
    }

    fn is_same_name(&self, one: &str, other: &str) -> bool {
        one == other || ignores_case(&self.authority) && one.eq_ignore_ascii_case(other)
    }
}

impl FromStr for RepositoryUrl {
    type Err = UnclearUrl;

    fn from_str(text: &str) -> Result<Self, UnclearUrl> {
        let schemes = [UrlScheme::Https, UrlScheme::Http, UrlScheme::File];
        let (scheme, rest) = schemes
            .into_iter()
            .find_map(|scheme| Some((scheme, strip_prefix_without_case(text, scheme.prefix())?)))
            .ok_or(UnclearUrl::Scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { scheme, authority: read_authority(scheme, authority)?, segments: read_path(path)? })
    }
}

/// As it may stand in a rule; never with a user, which is refused.
impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", self.scheme.prefix(), self.authority, self.path())
    }
}

fn strip_prefix_without_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn read_authority(scheme: UrlScheme, authority: &str) -> Result<String, UnclearUrl> {
    if authority.contains('@') {
        return Err(UnclearUrl::User);
    }
    if scheme == UrlScheme::File {
        return if authority.is_empty() { Ok(String::new()) } else { Err(UnclearUrl::Host) };
    }
    let lower = authority.to_ascii_lowercase();
    let usual = scheme.usual_port().and_then(|port| lower.strip_suffix(port));
    let plain = usual.unwrap_or(&lower);
    let (name, port) = match plain.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        Some(_) | None => (plain, None),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    };
    let is_address = |name: &str| {
        name.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    // A leading zero, or a sign, is another spelling of the same port.
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok()
    };
    if (is_name(name) || is_address(name)) && port.is_none_or(is_port) {
        Ok(plain.to_owned())
    } else {
        Err(UnclearUrl::Host)
    }
}

fn read_path(path: &str) -> Result<Vec<String>, UnclearUrl> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let mut segments: Vec<String> = path.split('/').map(read_segment).collect::<Result<_, _>>()?;
    // Hosts take both spellings for the repository itself, whose name comes last.
    if let Some(last) = segments.last_mut()
        && let Some(name) = last.strip_suffix(".git").filter(|name| !name.is_empty())
    {
        *last = name.to_owned();
    }
    Ok(segments)
}

fn read_segment(segment: &str) -> Result<String, UnclearUrl> {
    let decoded = percent_decode_str(segment).decode_utf8().map_err(|_| UnclearUrl::Path)?;
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '@' | ' ');
    // Decoded once: an escape that is left would be decoded again by whoever is behind a proxy.
    if decoded.is_empty() || decoded == "." || decoded.starts_with("..") || !decoded.chars().all(is_plain) {
        return Err(UnclearUrl::Path);
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RepositoryUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn one_place_has_one_reading_however_it_is_written() {
        for (written, read) in [
            ("https://GitHub.com/acme/app.git", "https://github.com/acme/app"),
            ("HTTPS://github.com:443/acme/app/", "https://github.com/acme/app"),
            ("http://localhost:80/%61cme/app", "http://localhost/acme/app"),
            ("http://127.0.0.1:3000/acme/app.git", "http://127.0.0.1:3000/acme/app"),
            ("https://[::1]:8443/acme/app", "https://[::1]:8443/acme/app"),
            ("https://github.com/acme.git/app.git", "https://github.com/acme.git/app"),
            ("https://github.com/", "https://github.com/"),
            ("https://github.com", "https://github.com/"),
            ("file:///srv/git/acme/app.git", "file:///srv/git/acme/app"),
        ] {
            assert_eq!(url(written).to_string(), read, "{written}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "git@github.com:acme/app.git",
            "ssh://git@github.com/acme/app.git",
            "ext::sh -c id",
            "//github.com/acme/app",
            "https://user@github.com/acme/app",
            "https://user:pw@github.com/acme/app",
            "https://github.com@evil.example/acme/app",
            "https://github.com\\@evil.example/acme/app",
            "https://github.com%2eevil.example/acme/app",
            "https://github.com:443:80/acme/app",
            "https://github.com:0443/acme/app",
            "https://github.com:/acme/app",
            "https:///acme/app",
            "https://git hub.com/acme/app",
            "https://github.com\t/acme/app",
            "https://[::1/acme/app",
            "https://github.com/acme/../secret",
            "https://github.com/acme/app/../../other/secret",
            "https://github.com/acme/%2e%2e/secret",
            "https://github.com/acme/.%2e/secret",
            "https://github.com/acme/app%2f..%2fsecret",
            "https://github.com/acme/app%252f..%252fsecret",
            "https://github.com/acme/app\\..\\secret",
            "https://github.com/acme/..;/secret",
            "https://github.com/acme//app",
            "https://github.com//acme/app",
            "https://github.com/./acme/app",
            "https://github.com/acme/app?x=1",
            "https://github.com/acme/app#x",
            "https://github.com/acme/app%00",
            "https://github.com/acme/app%0aHost:x",
            "https://github.com/acme/app\nx",
            "https://github.com/acme/app%ff",
            "file://host/srv/git",
        ] {
            assert!(text.parse::<RepositoryUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash_and_mixes_no_schemes() {
        for (text, prefix, expected) in [
            ("https://github.com/acme/app.git", "https://github.com/acme/", true),
            ("https://github.com/acme/app.git", "https://github.com/acme", true),
            ("https://github.com/Acme/app.git", "https://github.com/acme", true),
            ("https://git.example/Acme/app.git", "https://git.example/acme", false),
            ("https://github.com/acme/app.git", "https://github.com/", true),
            ("https://github.com/acme/app", "https://github.com/acme/app.git", true),
            ("https://github.com/acme-evil/app", "https://github.com/acme", false),
            ("https://github.com/acme/app-2", "https://github.com/acme/app", false),
            ("https://github.com/acme", "https://github.com/acme/app", false),
            ("http://github.com/acme/app", "https://github.com/", false),
            ("https://github.com/acme/app", "http://github.com/", false),
            ("https://github.com:8443/acme/app", "https://github.com/", false),
            ("https://github.com.evil.example/acme/app", "https://github.com/", false),
            ("file:///srv/git/acme/app", "file:///srv/git/", true),
            ("file:///srv/gitx/acme/app", "file:///srv/git/", false),
        ] {
            assert_eq!(url(text).is_within(&url(prefix)), expected, "{text} in {prefix}");
        }
        assert!(url("https://h/a/b.git").is_same_as(&url("https://h/a/b")));
        assert!(!url("https://h/a/b/c").is_same_as(&url("https://h/a/b")));
    }
}
