//! Git hosts, asked with the credentials that a worker with this environment would use.

use job::{Settings, Target};
use remote::{Credential, Head, HeadError, Remote, Timeouts};
use settings::{Environment, reserved};
use url::Url;

/// The way to git hosts, and the environment's tokens for them.
#[derive(Debug)]
pub(crate) struct GitHosts {
    environment: Environment,
}

/// Why a branch's head is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadUnknown {
    /// The setting `clone_url` is wrong.
    #[error(transparent)]
    CloneUrl(url::ParseError),
    /// The host was asked in vain.
    #[error(transparent)]
    Host(HeadError),
}

impl GitHosts {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self { environment: environment.clone() }
    }

    /// Makes a client for any host; nothing is called yet.
    pub(crate) fn client() -> anyhow::Result<Remote> {
        Ok(Remote::new(Timeouts::default())?)
    }

    /// Asks the target's host which commit its branch points at.
    pub(crate) async fn find_head(
        &self,
        client: &Remote,
        target: &Target,
        settings: &Settings,
    ) -> Result<Head, HeadUnknown> {
        let url = Url::parse(&settings.clone.url).map_err(HeadUnknown::CloneUrl)?;
        let credential = self.credential(settings);
        client.head(&url, target.branch(), credential.as_ref()).await.map_err(HeadUnknown::Host)
    }

    fn credential(&self, settings: &Settings) -> Option<Credential> {
        let name = &settings.clone.token_secret;
        let token = self.environment.secret(name).filter(|_| reserved(name).is_none())?;
        Some(Credential { user: Some(settings.clone.user.clone()), token })
    }
}
