//! What the toolbox's proxy remembers of what the API said: a yes for a while, a no for a moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a no is believed. Asked again in that time, the API hears nothing of it.
const NO_LASTS: Duration = Duration::from_secs(5);

/// What the API says of a key at a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Granted,
    Refused,
}

/// What was said of a key at a sandbox, and until when that is believed.
struct Answer {
    access: Access,
    until: Instant,
}

/// Which key reaches which sandbox, as far as the proxy knows.
pub(crate) struct AccessCache {
    yes_lasts: Duration,
    answers: Mutex<HashMap<(String, String), Answer>>,
}

impl AccessCache {
    pub(crate) fn new(yes_lasts: Duration) -> Self {
        Self { yes_lasts, answers: Mutex::default() }
    }

    /// What it would say without asking.
    pub(crate) fn recall(&self, sandbox: &str, key: &str) -> Option<Access> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = answers.get(&(sandbox.to_owned(), key.to_owned()))?;
        (found.until > Instant::now()).then_some(found.access)
    }

    pub(crate) fn remember(&self, sandbox: &str, key: &str, access: Access) {
        let now = Instant::now();
        let lasts = match access {
            Access::Granted => self.yes_lasts,
            // Never longer than a yes: who wants nothing remembered gets that.
            Access::Refused => NO_LASTS.min(self.yes_lasts),
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, answer| answer.until > now);
        answers.insert((sandbox.to_owned(), key.to_owned()), Answer { access, until: now + lasts });
    }

    /// What a restart of the proxy does.
    pub(crate) fn forget(&self) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
