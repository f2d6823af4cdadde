//! Which snapshot each base of the fleet file means at this tick, so that the whole tick builds from the same.
//!
//! Without a key, or while Daytona does not answer, jobs go out without it and the workers look for
//! themselves. A tick is never lost because of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use daytona::{BaseFinding, BaseIds, Client, ClientSettings};
use job::{Settings, Target};

/// Looks bases up, and logs what it found when that is news.
pub(crate) struct Bases {
    client: Option<Client>,
    /// By the base's name: the id that was found last, or the error.
    logged: Mutex<BTreeMap<String, String>>,
}

/// The way to Daytona, where there is one. Logs at once what is not done where there is none.
pub(crate) fn daytona_client(settings: Option<&ClientSettings>) -> Option<Client> {
    const NOT_DONE: &str =
        "workers look base snapshots up themselves, and nobody removes what is left over in Daytona";
    match settings.cloned().map(Client::new) {
        Some(Ok(client)) => Some(client),
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn Error, "Daytona cannot be asked; {NOT_DONE}");
            None
        }
        None => {
            tracing::warn!("DAYTONA_API_KEY is not set; {NOT_DONE}");
            None
        }
    }
}

impl Bases {
    /// Looks them up by this client; without one it finds none.
    pub(crate) fn new(client: Option<Client>) -> Self {
        Self { client, logged: Mutex::default() }
    }

    /// What the bases of these targets mean now, as far as it can be told in time.
    pub(crate) async fn look_up(&self, targets: &[(Target, Settings)]) -> BaseIds {
        let Some(client) = &self.client else { return BaseIds::default() };
        let names = targets.iter().map(|(_, settings)| settings.base_snapshot.as_str());
        let findings = client.look_up_bases(names).await;
        for BaseFinding { name, result } in &findings {
            match result {
                Ok(snapshot) if self.is_news(name, snapshot.id.as_str()) => {
                    tracing::info!(base = name, snapshot = snapshot.name, id = %snapshot.id, "jobs build from this base snapshot");
                }
                Err(error) if self.is_news(name, &error.to_string()) => {
                    let error = error as &dyn Error;
                    tracing::warn!(
                        base = name,
                        error,
                        "jobs go out without their base snapshot; workers look it up"
                    );
                }
                Ok(_) | Err(_) => {}
            }
        }
        BaseIds::from(&findings[..])
    }

    /// Whether the log does not have this of the name already.
    fn is_news(&self, name: &str, finding: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert(name.to_owned(), finding.to_owned()).as_deref() != Some(finding)
    }
}
