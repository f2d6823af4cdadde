//! What the toolbox's proxy remembers: a yes of the API, for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Which key reached which sandbox, and until when that is believed.
pub(crate) struct AccessCache {
    lasts: Duration,
    known: Mutex<HashMap<(String, String), Instant>>,
}

impl AccessCache {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self { lasts, known: Mutex::default() }
    }

    pub(crate) fn knows(&self, sandbox: &str, caller: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(sandbox, caller)).is_some_and(|until| *until > Instant::now())
    }

    pub(crate) fn remember(&self, sandbox: &str, caller: &str) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, until| *until > now);
        known.insert(key(sandbox, caller), now + self.lasts);
    }

    /// What a restart of the proxy does.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn key(sandbox: &str, caller: &str) -> (String, String) {
    (sandbox.to_owned(), caller.to_owned())
}
