//! Whether the API takes the key. While it does not, nothing is sent with it: Daytona counts failed authentications per address,
//! and after too many of them it refuses whoever shares the address, with whatever key.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;

/// Tells one key at one API from another, and nothing about it: the key itself is drawn at random from far more than can be tried.
///
/// The API belongs to it: whoever asks a wrong address with the right key must stop nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyCheck(u64);

impl KeyCheck {
    pub(crate) fn of(key: &SecretString, api: &Url) -> Self {
        let digest = Sha256::new()
            .chain_update("harvest key check\n")
            .chain_update(api.as_str().trim_end_matches('/'))
            .chain_update("\n")
            .chain_update(key.expose_secret())
            .finalize();
        Self(digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// It as a number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for KeyCheck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// Whether calls are sent. Closed by the API's refusal, or by whoever knows of one; opened by whoever knows better.
#[derive(Debug)]
pub struct KeyGate {
    check: KeyCheck,
    is_refused: watch::Sender<bool>,
}

impl KeyGate {
    pub(crate) fn new(check: KeyCheck) -> Self {
        Self { check, is_refused: watch::Sender::new(false) }
    }

    /// Which key this is about.
    pub fn check(&self) -> KeyCheck {
        self.check
    }

    /// Sends nothing more with it: the API refused it, here or elsewhere.
    pub fn refuse(&self) {
        self.is_refused.send_if_modified(|refused| !std::mem::replace(refused, true));
    }

    /// Sends calls again: the API took it.
    pub fn accept(&self) {
        self.is_refused.send_if_modified(|refused| std::mem::replace(refused, false));
    }

    /// Whether the API refused it last.
    pub fn is_refused(&self) -> bool {
        *self.is_refused.borrow()
    }

    /// Follows whether it is refused.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.is_refused.subscribe()
    }

    /// Waits until calls are sent again.
    pub async fn wait_until_accepted(&self) {
        // The sender lives as long as this does, so nothing but a change ends the wait.
        drop(self.watch().wait_for(|refused| !refused).await.ok());
    }
}
