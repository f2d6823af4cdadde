//! Keeps a client's key gate as the fleet knows it, and asks about a refused key where nobody else of the fleet does.
//!
//! Daytona counts failed authentications per address, and a fleet may share one: so whoever is refused writes it down, everybody
//! stops, and one program asks on, ever more rarely, until the key is taken.

use std::time::Duration;

use backoff::{Backoff, jittered};
use broker::{Broker, Lock, LockName, Register};
use chrono::Utc;
use daytona::{Client, ErrorKind, Retry};
use job::{AccountEntry, KeyRefusal, RegisterEntry};
use tokio::time::sleep;

/// The pauses between two questions about a refused key grow to this many times the first.
const SLOWEST: u32 = 20;
/// How often a program that waits for another's question tries to become the one that asks.
const TAKE_OVER: Duration = Duration::from_secs(30);
/// How long an entry that could not be written waits.
const WRITE_AGAIN: Duration = Duration::from_secs(2);

/// Watches one client's key.
#[derive(Debug)]
pub struct KeyWatch {
    client: Client,
    broker: Broker,
    register: Register,
    pauses: Backoff,
}

impl KeyWatch {
    /// Watches this client's key by this broker and its register.
    pub fn new(client: Client, broker: Broker, register: Register) -> Self {
        let first = client.settings().refused_key_pause;
        Self {
            client,
            broker,
            register,
            pauses: Backoff::constant(first, 2.0, first.saturating_mul(SLOWEST)),
        }
    }

    /// Watches for as long as it is let.
    pub async fn run(&self) {
        let mut refused = self.client.key().watch();
        let mut register = self.register.changes();
        loop {
            if self.refusal().is_some() {
                self.client.key().refuse();
            }
            if self.client.key().is_refused() {
                tracing::error!(
                    key = %self.client.key().check(),
                    "Daytona refuses DAYTONA_API_KEY: nothing is asked with it and no job is taken until one program of the fleet finds it accepted"
                );
                self.wait_until_accepted().await;
                tracing::info!("Daytona takes DAYTONA_API_KEY again");
                continue;
            }
            tokio::select! {
                seen = refused.changed() => if seen.is_err() { return },
                seen = register.changed() => if seen.is_err() { return },
            }
        }
    }

    /// What the fleet knows of a refusal.
    fn refusal(&self) -> Option<KeyRefusal> {
        self.register.account().refusal_of(&self.key()).cloned()
    }

    fn key(&self) -> String {
        self.client.key().check().to_string()
    }

    async fn wait_until_accepted(&self) {
        if self.refusal().is_none() {
            self.write(self.refused_now()).await;
        }
        tokio::select! {
            () = self.wait_for_word() => {}
            () = self.ask() => {}
        }
        self.client.key().accept();
    }

    /// Until the register says that it is taken; a refusal may not have come back through it yet.
    async fn wait_for_word(&self) {
        let mut changes = self.register.changes();
        let mut was_refused = false;
        loop {
            let is_refused = self.refusal().is_some();
            if was_refused && !is_refused {
                return;
            }
            was_refused = is_refused;
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn wait_for_acceptance_to_come_back(&self) {
        let mut changes = self.register.changes();
        while self.refusal().is_some() && changes.changed().await.is_ok() {}
    }

    /// Asks, as soon as nobody else does, until it is taken. Whoever can't ask at all lets somebody else.
    async fn ask(&self) {
        let mut pauses = self.pauses.pauses();
        loop {
            let lock = self.become_prober().await;
            // A prober that takes over goes on with the pause of the one before.
            let mut pause = self.left_of(pauses.next_pause());
            loop {
                sleep(pause).await;
                if lock.is_lost() {
                    break;
                }
                match self.client.ask_about_key().await {
                    Ok(_) => {
                        self.write(AccountEntry::KeyAccepted { key: self.key(), at: Utc::now() }).await;
                        self.wait_for_acceptance_to_come_back().await;
                        return lock.release().await;
                    }
                    Err(error) if error.kind() == ErrorKind::Unauthorized => {
                        tracing::warn!(error = error_chain::line(&error), "the API key is not taken yet");
                        self.write(self.refused_now()).await;
                        pause = pauses.next_pause();
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = error_chain::line(&error),
                            "the API could not be asked about the key; another program may"
                        );
                        let asked_to_wait = match error.retry() {
                            Retry::After(after) => after,
                            Retry::Never | Retry::Backoff | Retry::ReadFirst => Duration::ZERO,
                        };
                        lock.release().await;
                        sleep(asked_to_wait.max(jittered(TAKE_OVER))).await;
                        break;
                    }
                }
            }
        }
    }

    /// What is left of a pause since anybody was last refused.
    fn left_of(&self, pause: Duration) -> Duration {
        let asked = self.refusal().map_or_else(Utc::now, |refusal| refusal.at);
        pause.saturating_sub((Utc::now() - asked).to_std().unwrap_or_default())
    }

    async fn become_prober(&self) -> Lock {
        loop {
            match self.broker.try_lock(LockName::KeyProber(self.client.key().check().number())).await {
                Ok(lock) => return lock,
                Err(error) => {
                    tracing::debug!(error = error_chain::line(&error), "another program asks about the key");
                }
            }
            sleep(jittered(TAKE_OVER)).await;
        }
    }

    fn refused_now(&self) -> AccountEntry {
        AccountEntry::KeyRefused(KeyRefusal { key: self.key(), at: Utc::now() })
    }

    /// Until it is confirmed: the others wait for it.
    async fn write(&self, entry: AccountEntry) {
        let entry = RegisterEntry::Account(entry);
        while let Err(error) = self.register.put(&entry).await {
            tracing::debug!(
                error = error_chain::line(&error),
                "what is known of the key could not be written down yet"
            );
            sleep(jittered(WRITE_AGAIN)).await;
        }
    }
}
