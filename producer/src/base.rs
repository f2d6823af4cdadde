//! Which snapshot each base of the fleet file means at this tick, so that the whole tick builds from the same.
//!
//! Only a look: without a key, or while Daytona does not answer, jobs go out without it and the workers look for
//! themselves. A tick is never lost because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daytona::{BaseError, Client, ClientSettings};
use job::{Settings, Target};
use settings::DaytonaSettings;
use tokio::time::Instant;

/// How long a tick waits for Daytona in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// The id behind each name that was found.
pub(crate) type BaseIds = BTreeMap<String, String>;

/// Looks bases up, and says what it found when that is news.
pub(crate) struct Bases {
    client: Option<Client>,
    said: Mutex<BTreeMap<String, String>>,
}

impl Bases {
    /// Says at once why it will find none, where that is so.
    pub(crate) fn new(daytona: Option<&DaytonaSettings>) -> Self {
        let client = daytona.map(|told| {
            Client::new(ClientSettings {
                target: told.target.clone(),
                request_timeout: told.request_timeout,
                ..ClientSettings::new(told.api_url.clone(), told.api_key.clone())
            })
        });
        let client = match client {
            Some(Ok(client)) => Some(client),
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "Daytona cannot be asked; workers look base snapshots up themselves"
                );
                None
            }
            None => {
                tracing::warn!("DAYTONA_API_KEY is not set; workers look base snapshots up themselves");
                None
            }
        };
        Self { client, said: Mutex::default() }
    }

    /// What the bases of these targets mean now, as far as it can be told in time.
    pub(crate) async fn look_up(&self, targets: &[(Target, Settings)]) -> BaseIds {
        let mut found = BaseIds::new();
        let Some(client) = &self.client else { return found };
        let names: BTreeSet<&str> =
            targets.iter().map(|(_, settings)| settings.base_snapshot.as_str()).collect();
        let deadline = Instant::now() + PATIENCE;
        for name in names {
            match tokio::time::timeout_at(deadline, client.base_snapshot(name)).await {
                Ok(Ok(snapshot)) => {
                    if self.is_news(name, snapshot.id.as_str()) {
                        tracing::info!(base = name, snapshot = snapshot.name, id = %snapshot.id, "jobs build from this base snapshot");
                    }
                    found.insert(name.to_owned(), snapshot.id.to_string());
                }
                Ok(Err(error)) => {
                    self.warn(name, &error);
                    if let BaseError::Call(_) = error {
                        // The others would fare no better.
                        break;
                    }
                }
                Err(elapsed) => {
                    self.warn(name, &elapsed);
                    break;
                }
            }
        }
        found
    }

    fn warn(&self, name: &str, error: &(dyn Error + 'static)) {
        if self.is_news(name, &error.to_string()) {
            tracing::warn!(base = name, error, "jobs go out without their base snapshot; workers look it up");
        }
    }

    /// Whether this was not the last thing said of the name.
    fn is_news(&self, name: &str, word: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(name.to_owned(), word.to_owned()).as_deref() != Some(word)
    }
}
