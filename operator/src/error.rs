//! How a command ends when it does not end well: each variant is one exit code.

use std::process::ExitCode;

/// How harvestctl ends, for whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// It failed, or what was waited for failed.
    Failed,
    /// Wrong arguments or settings.
    Usage,
    /// What was asked for does not exist.
    NotFound,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The settings or arguments are wrong.
    #[error(transparent)]
    Usage(anyhow::Error),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Nobody reads what is printed any more (`harvestctl status | head`).
    #[error("the output was closed")]
    PipeClosed,
    /// Anything else went wrong.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl CommandError {
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::Usage(anyhow::Error::msg(message.to_string()))
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::PipeClosed => Exit::Done,
            Self::Failed(_) => Exit::Failed,
        }
    }

    /// The sentence for stderr, causes included; none when there is nothing to say.
    pub(crate) fn sentence(&self) -> Option<String> {
        match self {
            Self::Usage(error) | Self::Failed(error) => Some(error_chain::line(error.as_ref())),
            Self::NotFound(message) => Some(message.clone()),
            Self::PipeClosed => None,
        }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::PipeClosed
        } else {
            Self::Failed(anyhow::Error::new(error).context("the output cannot be written"))
        }
    }
}
