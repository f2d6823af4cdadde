//! Daytona, which most commands can do without: there may be no key.

use daytona::{Client, ClientSettings};

/// The label of a sandbox that says which fleet it is of.
pub(crate) const FLEET_LABEL: &str = "harvest.fleet";
/// The label of a sandbox that says which attempt holds it.
pub(crate) const ATTEMPT_LABEL: &str = "harvest.attempt";

/// The way to Daytona; nothing is opened before a command asks.
#[derive(Debug)]
pub(crate) struct DaytonaAccess {
    settings: Option<ClientSettings>,
}

/// What a command gets when it asks for Daytona.
#[derive(Debug)]
pub(crate) enum DaytonaClient {
    /// There is no key, so nobody is asked.
    NoKey,
    /// There is a key, and no client could be made with it.
    Unusable(anyhow::Error),
    /// Calls can be made.
    Ready(Client),
}

impl DaytonaAccess {
    pub(crate) fn new(settings: Option<ClientSettings>) -> Self {
        Self { settings }
    }

    /// Makes a client; nothing is called yet.
    pub(crate) fn client(&self) -> DaytonaClient {
        match self.settings.clone().map(Client::new) {
            None => DaytonaClient::NoKey,
            Some(Ok(client)) => DaytonaClient::Ready(client),
            Some(Err(error)) => DaytonaClient::Unusable(
                anyhow::Error::new(error).context("the Daytona client could not be set up"),
            ),
        }
    }
}
