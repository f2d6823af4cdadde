//! Why a branch's commit is not known, in the terms a caller decides on.
//!
//! Hosts hide private repositories: many answer 401 or 404 for one that exists, or is missing, when asked
//! without a good credential. So the facts (status, whether there was a credential) are kept.

use std::time::Duration;

use crate::url_shown::ShownUrl;

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for git hosts could not be set up")]
pub struct SetupError(#[source] pub(crate) reqwest::Error);

/// Why a branch's commit is not known.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The repository is there, the branch is not.
    #[error("{url} has no branch {branch}")]
    BranchMissing {
        /// The repository that was asked.
        url: ShownUrl,
        /// The branch that it lacks.
        branch: String,
    },
    /// The host knows no such repository, or does not say that it does.
    #[error("{url} is not there (HTTP {status}, {})", with(*had_credential))]
    RepositoryMissing {
        /// The repository that was asked for.
        url: ShownUrl,
        /// What the host answered; 0 for a folder.
        status: u16,
        /// Whether a credential was sent.
        had_credential: bool,
    },
    /// The host wants another credential, or any.
    #[error("{url} may not be read (HTTP {status}, {})", with(*had_credential))]
    Unauthorized {
        /// The repository that was asked for.
        url: ShownUrl,
        /// What the host answered.
        status: u16,
        /// Whether a credential was sent.
        had_credential: bool,
    },
    /// The host is asked too often.
    #[error("{url}: the host's rate limit is reached (HTTP {status})")]
    RateLimited {
        /// The repository that was asked for.
        url: ShownUrl,
        /// What the host answered.
        status: u16,
        /// How long the host asks to wait.
        after: Option<Duration>,
    },
    /// The host, or the way to it, is down.
    #[error("{url}: the host is unavailable: {cause}")]
    HostUnavailable {
        /// The repository that was asked for.
        url: ShownUrl,
        /// How that was noticed.
        #[source]
        cause: Outage,
    },
    /// The host refused in the git protocol itself.
    #[error("{url}: the host refused: {message}")]
    Refused {
        /// The repository that was asked for.
        url: ShownUrl,
        /// What it said, bounded.
        message: String,
    },
    /// The answer is not git's.
    #[error("{url}: {what}")]
    Undecodable {
        /// The repository that was asked for.
        url: ShownUrl,
        /// What is wrong with it.
        what: Garbled,
    },
    /// The answer is larger than allowed.
    #[error("{url}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// The repository that was asked for.
        url: ShownUrl,
        /// The most that is read.
        limit: usize,
    },
    /// The host redirects to another URL, where a credential does not go.
    #[error("{url} has moved to {to}, and the credential is not sent there")]
    Moved {
        /// The repository that was asked for.
        url: ShownUrl,
        /// Where the host sends whoever asks for it.
        to: ShownUrl,
    },
    /// Redirected to where a git client should not go, or too often.
    #[error("{url}: redirected too often, to plain HTTP, or to what is no HTTP URL")]
    Redirected {
        /// The repository that was asked for.
        url: ShownUrl,
    },
    /// A URL this can't ask.
    #[error("{url}: {why}")]
    UnusableUrl {
        /// The repository that was given.
        url: ShownUrl,
        /// What is wrong with the URL.
        why: Unusable,
    },
    /// `git ls-remote` could not be run on a folder.
    #[error("{url}: git could not be run")]
    GitMissing {
        /// The folder that git was to read.
        url: ShownUrl,
        /// Why the program did not start.
        source: std::io::Error,
    },
    /// `git ls-remote` failed on a folder.
    #[error("{url}: git failed: {message}")]
    GitFailed {
        /// The folder that git was to read.
        url: ShownUrl,
        /// What it said, bounded.
        message: String,
    },
}

/// How an outage shows.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// The host says so.
    #[error("HTTP {0}")]
    Status(u16),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// No connection, or it broke.
    #[error("no connection, or it broke")]
    Connection(#[source] reqwest::Error),
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// A status no git host answers with.
    #[error("HTTP {0} makes no sense here")]
    Status(u16),
    /// A web page, a login form or a host without smart HTTP.
    #[error("the answer is not a git server's")]
    NotGit,
    /// The lines break off or can't be read.
    #[error("the git answer breaks off or can't be read")]
    Lines,
    /// A protocol version or command this does not know.
    #[error("the git server speaks a version of the protocol without ls-refs")]
    Version,
    /// What stands for the commit is no commit id.
    #[error("what the branch points at is no commit id")]
    CommitId,
}

/// Why a URL can't be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not `http`, `https` or `file`.
    #[error("only http, https and file URLs can be asked")]
    Scheme,
    /// A user or password is part of the URL, where logs and `.git/config` would keep it.
    #[error("credentials do not belong into the URL")]
    CredentialInside,
    /// It has a query or fragment.
    #[error("a repository's URL has no query or fragment")]
    QueryOrFragment,
    /// A `file` URL that names no local folder.
    #[error("the file URL names no local folder")]
    NotLocal,
}

impl HeadError {
    /// The repository that was asked.
    pub fn url(&self) -> &ShownUrl {
        match self {
            Self::BranchMissing { url, .. }
            | Self::RepositoryMissing { url, .. }
            | Self::Unauthorized { url, .. }
            | Self::RateLimited { url, .. }
            | Self::HostUnavailable { url, .. }
            | Self::Refused { url, .. }
            | Self::Undecodable { url, .. }
            | Self::TooLarge { url, .. }
            | Self::Moved { url, .. }
            | Self::Redirected { url }
            | Self::UnusableUrl { url, .. }
            | Self::GitMissing { url, .. }
            | Self::GitFailed { url, .. } => url,
        }
    }
}

fn with(had_credential: bool) -> &'static str {
    if had_credential { "with a credential" } else { "without a credential" }
}

/// A remote's words on one line of at most 300 bytes.
pub(crate) fn truncate(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(1000)]);
    let mut line = text.split(|c: char| c.is_whitespace() || c.is_control()).collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(300));
    line.trim().to_owned()
}
