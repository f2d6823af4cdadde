//! Asks a git remote which commit a branch points at, and nothing else.
//!
//! An unchanged target costs one such question per tick, so it must be cheap for both sides: protocol v2 with
//! a prefix for exactly that ref. Every answer is bounded, a credential goes only to the URL it was given
//! for and along no redirect, and no error or span carries it.

#![warn(missing_docs)]

mod advert;
mod credential;
mod error;
mod http;
mod lines;
mod local;
mod span;
mod url_shown;

use std::fmt;
use std::time::Duration;

use url::Url;

pub use credential::Credential;
pub use error::{Garbled, HeadError, Outage, SetupError, Unusable};
pub use url_shown::ShownUrl;

/// A commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(String);

impl CommitId {
    /// Reads an id; none when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (hex && matches!(text.len(), 40 | 64)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// All 40 or 64 digits, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Where a branch points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit that the branch points at.
    pub commit: CommitId,
}

/// How long to wait for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to open.
    pub connect: Duration,
    /// For the whole question, redirects included.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30) }
    }
}

/// Asks git hosts. Cheap to clone; keeps connections open between questions.
#[derive(Debug, Clone)]
pub struct Remote {
    http: reqwest::Client,
    timeouts: Timeouts,
}

impl Remote {
    /// Sets up the HTTP client. Sends nothing.
    pub fn new(timeouts: Timeouts) -> Result<Self, SetupError> {
        let http = http::client(timeouts.connect).map_err(SetupError)?;
        Ok(Self { http, timeouts })
    }

    /// The commit that `branch` (without `refs/heads/`) points at. `http`, `https` and `file` URLs.
    pub async fn head(
        &self,
        url: &Url,
        branch: &str,
        credential: Option<&Credential>,
    ) -> Result<Head, HeadError> {
        let shown = ShownUrl::of(url);
        check(url, &shown)?;
        // A ref can't hold these, and a line break would add lines of its own to the request.
        if branch.is_empty() || branch.len() > 1024 || branch.chars().any(|c| c.is_control() || c == ' ') {
            return Err(HeadError::BranchMissing { url: shown, branch: branch.escape_debug().to_string() });
        }
        let request = async {
            if url.scheme() == "file" {
                local::head(url, branch, &shown).await
            } else {
                http::head(&self.http, url, branch, credential, &shown).await
            }
        };
        match tokio::time::timeout(self.timeouts.total, request).await {
            Ok(Ok(Some(commit))) => Ok(Head { commit }),
            Ok(Ok(None)) => Err(HeadError::BranchMissing { url: shown, branch: branch.to_owned() }),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let cause = Outage::Timeout(self.timeouts.total);
                Err(HeadError::HostUnavailable { url: shown, cause })
            }
        }
    }
}

fn check(url: &Url, shown: &ShownUrl) -> Result<(), HeadError> {
    let why = if !matches!(url.scheme(), "http" | "https" | "file") {
        Unusable::Scheme
    } else if !url.username().is_empty() || url.password().is_some() {
        Unusable::CredentialInside
    } else if url.query().is_some() || url.fragment().is_some() {
        Unusable::QueryOrFragment
    } else {
        return Ok(());
    };
    Err(HeadError::UnusableUrl { url: shown.clone(), why })
}
