//! Daytona, which most commands can do without: there may be no key.

use std::sync::OnceLock;

use daytona::{Client, ClientSettings, Sandbox};
use job::SandboxName;

/// The way to Daytona; nothing is opened before a command asks.
#[derive(Debug)]
pub(crate) struct DaytonaAccess {
    settings: Option<ClientSettings>,
    /// One for all of a command, so that a key which the API refused is asked about once.
    client: OnceLock<Client>,
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
        Self { settings, client: OnceLock::new() }
    }

    /// The command's client; nothing is called yet.
    pub(crate) fn client(&self) -> DaytonaClient {
        if let Some(client) = self.client.get() {
            return DaytonaClient::Ready(client.clone());
        }
        match self.settings.clone().map(Client::new) {
            None => DaytonaClient::NoKey,
            Some(Ok(client)) => DaytonaClient::Ready(self.client.get_or_init(|| client).clone()),
            Some(Err(error)) => DaytonaClient::Unusable(
                anyhow::Error::new(error).context("the Daytona client could not be set up"),
            ),
        }
    }
}

/// Who stands under any of the target's names, in the order in which the lease passes on: the last one holds it, where those before
/// it stick.
pub(crate) async fn find_occupants(
    client: &Client,
    name: &SandboxName,
) -> Result<Vec<Sandbox>, daytona::Error> {
    let mut found = Vec::new();
    for name in name.all_of_target() {
        let sandbox = client.get_sandbox(name.as_str()).await?;
        found.extend(sandbox.filter(|sandbox| !sandbox.state.is_going()));
    }
    Ok(found)
}
