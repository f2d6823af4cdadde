//! From a leased sandbox to the view of it that stages work with.

use std::sync::Arc;

use daytona::Client;
use job::Stage;

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::from_call;
use crate::job_secrets::JobSecrets;
use crate::lease::Lease;
use crate::sandbox::{Sandbox, SandboxWitness, Watching};

/// Opens sandboxes, so that nothing they say has a secret in it that they were given.
#[derive(Debug, Clone)]
pub(crate) struct SandboxOpener {
    pub(crate) client: Client,
    pub(crate) secrets: Arc<JobSecrets>,
    pub(crate) watching: Watching,
}

impl SandboxOpener {
    /// The leased sandbox as this attempt sees it. `stage` is the one that asks.
    pub(crate) async fn open(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        stage: Stage,
    ) -> Result<Sandbox, EarlyEnd> {
        let toolbox = self.client.toolbox(lease.sandbox()).await.map_err(|error| from_call(&error, stage))?;
        let redactor = Arc::new(self.secrets.redactor(&attempt.job));
        let witness = SandboxWitness::of(&self.client, lease.sandbox());
        Ok(Sandbox::new(toolbox, witness, redactor, self.watching.clone(), attempt.id))
    }
}
