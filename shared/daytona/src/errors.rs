//! What can go wrong with one call, in the terms a caller decides on.
//!
//! A status alone decides little (400 is a typo, a full organization or a missing snapshot), so refusals are
//! classified by the table in `errors/table.rs`, the only place that matches Daytona's texts. An error carries
//! the endpoint, never the credential, a command, an environment or a whole body.

mod body;
mod limits;
mod table;

use std::fmt;
use std::time::Duration;

use crate::operation::{Operation, Repeat};
use crate::states::SandboxState;

pub(crate) use body::read as read_body;
pub(crate) use limits::retry_after;
pub(crate) use table::classify;
use table::exceeded;
pub use table::{Exceeded, Resource};

/// A call that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Daytona answered, and the answer is no.
    #[error("{operation}: HTTP {status}: {message}")]
    Refused {
        /// The call that was refused.
        operation: Operation,
        /// What the refusal means.
        kind: ErrorKind,
        /// The HTTP status of the refusal.
        status: u16,
        /// What Daytona said, bounded.
        message: Message,
        /// How long Daytona asks to wait.
        after: Option<Duration>,
    },
    /// Not sent: the API refused the key, and the fleet's one prober asks about it.
    #[error("{operation}: not sent, since Daytona refuses the API key; one program of the fleet asks again")]
    KeyRefused {
        /// The call that was not sent.
        operation: Operation,
    },
    /// A create named a region that there is not.
    #[error("{operation}: HTTP {status}: {message}; {}", suggest_regions(target.as_ref(), regions.as_ref()))]
    NoSuchRegion {
        /// The call that was refused.
        operation: Operation,
        /// The HTTP status of the refusal.
        status: u16,
        /// What Daytona said, bounded.
        message: Message,
        /// The region that was asked for; none where it was left to the organization's default.
        target: Option<String>,
        /// The names of those that there are, where Daytona told.
        regions: Option<Vec<String>>,
    },
    /// The toolbox's proxy answered no, and Daytona's API, asked about it, says the opposite: the proxy's trouble, which passes.
    #[error(
        "{operation}: HTTP {status}: {message}; yet the key is good and the sandbox is {state}, as Daytona's API says"
    )]
    Contradicted {
        /// The call that the proxy refused. It never arrived.
        operation: Operation,
        /// The HTTP status of the refusal.
        status: u16,
        /// What the proxy said, bounded.
        message: Message,
        /// The state of the sandbox.
        state: SandboxState,
    },
    /// No connection, or it broke before the answer was complete.
    #[error("{operation}: no answer from Daytona")]
    Unreachable {
        /// The call that got no answer.
        operation: Operation,
        /// Whether the request can have arrived.
        sent: Sent,
        /// What broke; without the URL.
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("{operation}: no answer within {}", Seconds(*timeout))]
    TimedOut {
        /// The call that took too long.
        operation: Operation,
        /// How long it was given.
        timeout: Duration,
        /// Whether the request can have arrived.
        sent: Sent,
    },
    /// An answer of the right status that can't be read.
    #[error("{operation}: HTTP {status} with a body that can't be read")]
    Undecodable {
        /// The call that was answered.
        operation: Operation,
        /// The HTTP status of the answer; 0 when the request could not be written.
        status: u16,
        /// Where reading the body stopped, and why.
        source: serde_json::Error,
    },
    /// An answer larger than the caller allows.
    #[error("{operation}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// The call whose answer was too large.
        operation: Operation,
        /// The most that is read.
        limit: usize,
    },
    /// A list that did not end within the pages allowed.
    #[error("{operation}: the list did not end within {pages} pages")]
    Endless {
        /// The call that lists.
        operation: Operation,
        /// How many were read.
        pages: usize,
    },
    /// An id, name or URL that can't be put into a request without meaning something else.
    #[error("{operation}: an id, name or toolbox URL is empty or not usable in a URL")]
    Unaddressable {
        /// The call that could not be addressed.
        operation: Operation,
    },
}

/// Whether a request without an answer can have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No connection was made.
    No,
    /// It can have arrived.
    Perhaps,
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It does not exist, or belongs to another organization.
    NotFound,
    /// The name belongs to another sandbox or snapshot.
    NameTaken,
    /// The sandbox is on its way to another state, or was changed at the same moment.
    StateChanging,
    /// A conflict that no row of the table knows.
    Conflict,
    /// The sandbox is not in a state that allows this (not started).
    WrongState,
    /// The sandbox exists and failed to start.
    StartFailed,
    /// Too many requests in this minute.
    RateLimited,
    /// No machine is free, or none holds the snapshot yet.
    Capacity,
    /// The organization's vCPU, memory or disk are used up.
    SandboxQuota,
    /// More than one sandbox may ever have.
    SandboxTooLarge,
    /// The organization has as many snapshots as it may.
    SnapshotQuota,
    /// The organization is suspended (credits, payment, verification).
    Suspended,
    /// The API key is not valid.
    Unauthorized,
    /// The API key may not do this.
    Forbidden,
    /// The request itself is wrong.
    InvalidRequest,
    /// A create named a snapshot that does not exist.
    SnapshotNotFound,
    /// A create named a snapshot that is asleep, not ready or broken.
    SnapshotNotActive,
    /// A create named a snapshot that this region lacks.
    SnapshotNotInRegion,
    /// A create named a region that there is not, or none where the organization has no default.
    RegionMissing,
    /// This Daytona, or this class of sandbox, does not have the feature.
    Unsupported,
    /// The command was killed at its own time limit.
    CommandTimedOut,
    /// Daytona, its proxy or the way to them is down.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// The answer can't be read: not Daytona, or a version this client does not know.
    Undecodable,
    /// The answer is larger than allowed.
    TooLarge,
}

/// Whether, and when, the same call makes sense again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again.
    Never,
    /// After this long, as Daytona asked.
    After(Duration),
    /// After a while that grows.
    Backoff,
    /// Only after reading what is there: the call can have had an effect.
    ReadFirst,
}

impl Error {
    /// The call that failed.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Refused { operation, .. }
            | Self::Contradicted { operation, .. }
            | Self::NoSuchRegion { operation, .. }
            | Self::Unreachable { operation, .. }
            | Self::TimedOut { operation, .. }
            | Self::Undecodable { operation, .. }
            | Self::TooLarge { operation, .. }
            | Self::Endless { operation, .. }
            | Self::KeyRefused { operation }
            | Self::Unaddressable { operation } => *operation,
        }
    }

    /// What the failure means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::NoSuchRegion { .. } => ErrorKind::RegionMissing,
            // It was not sent, and will be: whoever waits for something goes on waiting.
            Self::KeyRefused { .. } | Self::Contradicted { .. } | Self::Unreachable { .. } => {
                ErrorKind::Unavailable
            }
            Self::TimedOut { .. } => ErrorKind::Timeout,
            Self::Undecodable { .. } | Self::Endless { .. } => ErrorKind::Undecodable,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Unaddressable { .. } => ErrorKind::InvalidRequest,
        }
    }

    /// The HTTP status, when there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. }
            | Self::Contradicted { status, .. }
            | Self::NoSuchRegion { status, .. }
            | Self::Undecodable { status, .. } => Some(*status),
            Self::KeyRefused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::Endless { .. }
            | Self::Unaddressable { .. } => None,
        }
    }

    /// Whether, and when, to send the same call again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { kind, after, operation, .. } => kind.retry(*after, operation.repeat),
            Self::KeyRefused { .. } | Self::Contradicted { .. } => Retry::Backoff,
            Self::Unreachable { sent, operation, .. } | Self::TimedOut { sent, operation, .. } => {
                match (sent, operation.repeat) {
                    (Sent::No, _) | (Sent::Perhaps, Repeat::Safe) => Retry::Backoff,
                    (Sent::Perhaps, Repeat::ReadFirst) => Retry::ReadFirst,
                }
            }
            Self::Undecodable { operation, .. } | Self::TooLarge { operation, .. } => {
                match operation.repeat {
                    Repeat::Safe => Retry::Never,
                    Repeat::ReadFirst => Retry::ReadFirst,
                }
            }
            Self::NoSuchRegion { .. } | Self::Endless { .. } | Self::Unaddressable { .. } => Retry::Never,
        }
    }

    /// The limit of the organization that the call would have gone over.
    pub fn exceeded(&self) -> Option<Exceeded> {
        let Self::Refused { kind: ErrorKind::SandboxQuota | ErrorKind::SnapshotQuota, message, .. } = self
        else {
            return None;
        };
        exceeded(message)
    }

    /// Whether the call can have had an effect although it failed.
    pub(crate) fn is_unknown(&self) -> bool {
        self.retry() == Retry::ReadFirst
            && matches!(
                self.kind(),
                ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Undecodable | ErrorKind::TooLarge
            )
    }

    /// Whether the next poll may fare better.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited)
    }
}

impl ErrorKind {
    fn retry(self, after: Option<Duration>, repeat: Repeat) -> Retry {
        let waited = after.map_or(Retry::Backoff, Retry::After);
        match self {
            Self::RateLimited | Self::Capacity | Self::SandboxQuota | Self::SnapshotQuota => waited,
            Self::Unavailable | Self::Timeout => match repeat {
                Repeat::Safe => waited,
                Repeat::ReadFirst => Retry::ReadFirst,
            },
            Self::NameTaken
            | Self::StateChanging
            | Self::Conflict
            | Self::WrongState
            | Self::StartFailed
            | Self::CommandTimedOut => Retry::ReadFirst,
            Self::NotFound
            | Self::SandboxTooLarge
            | Self::Suspended
            | Self::Unauthorized
            | Self::Forbidden
            | Self::InvalidRequest
            | Self::SnapshotNotFound
            | Self::SnapshotNotActive
            | Self::SnapshotNotInRegion
            | Self::RegionMissing
            | Self::Unsupported
            | Self::Undecodable
            | Self::TooLarge => Retry::Never,
        }
    }
}

/// What Daytona said, on one line and bounded, so that an HTML page never fills a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    const LONGEST: usize = 300;

    pub(crate) fn new(text: &str) -> Self {
        let mut line = String::new();
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty())
        {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            if line.len() > Self::LONGEST {
                line.truncate(line.floor_char_boundary(Self::LONGEST));
                line.push('…');
                break;
            }
        }
        Self(line)
    }

    /// The text; empty when Daytona said nothing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Message {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "(no message)" } else { &self.0 })
    }
}

/// Which setting is wrong, and what it could be.
fn suggest_regions(target: Option<&String>, regions: Option<&Vec<String>>) -> String {
    let wrong = match target {
        Some(target) => {
            format!("there is no region `{target}`: correct DAYTONA_TARGET (`target` in [daytona])")
        }
        None => "there is no default region: set DAYTONA_TARGET (`target` in [daytona])".to_owned(),
    };
    match regions {
        Some(regions) if !regions.is_empty() => format!("{wrong}. There are: {}", regions.join(", ")),
        Some(_) => format!("{wrong}. Daytona names none"),
        None => wrong,
    }
}

/// Shows a duration the way people say it.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1} s", self.0.as_secs_f64())
    }
}
