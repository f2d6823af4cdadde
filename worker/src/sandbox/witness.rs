//! Who is asked when a sandbox says something odd of itself: Daytona's API, which no repository answers for.

use std::time::Duration;

use daytona::{Client, SandboxId};
use job::{Failure, FleetName};

use crate::failures::{
    ApiAnswer, Others, Speaker, believe, from_read, is_claim, is_proxys_trouble, is_there, proxys_trouble,
};
use crate::others::ask_other_toolboxes;

/// The API may be a moment behind what has just become of a sandbox, so one that is said to be there is looked at again.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// Asks Daytona's API how one sandbox stands.
#[derive(Debug, Clone)]
pub struct SandboxWitness {
    client: Client,
    sandbox: SandboxId,
    /// Whose sandbox it is, where its labels say so: others of the fleet are compared with it.
    fleet: Option<FleetName>,
}

impl SandboxWitness {
    /// The witness of this sandbox, whoever has its name later.
    pub fn of(client: &Client, sandbox: &daytona::Sandbox) -> Self {
        Self { client: client.clone(), sandbox: sandbox.id.clone(), fleet: lease::fleet_of(&sandbox.labels) }
    }

    /// What is to be believed of a failure that the sandbox itself speaks of: the same before install, when nothing of the
    /// repository's has run in it, and from then on what the API says; and where the proxy may be at fault, what other toolboxes say.
    pub(crate) async fn examine(&self, claim: Failure, speaker: Speaker) -> Failure {
        if !is_claim(&claim) {
            return claim;
        }
        let mut answer = self.ask(&claim).await;
        if matches!(&answer, ApiAnswer::State(state, _) if is_there(state)) {
            // Once, and for seconds: whoever waits for this failure has waited for the sandbox already.
            tokio::time::sleep(SECOND_LOOK).await;
            answer = self.ask(&claim).await;
        }
        if matches!(&answer, ApiAnswer::State(state, _) if is_there(state))
            && speaker != Speaker::Sandbox
            && is_proxys_trouble(speaker, self.ask_others().await)
        {
            return proxys_trouble(&claim);
        }
        believe(&claim, answer)
    }

    async fn ask_others(&self) -> Others {
        match &self.fleet {
            Some(fleet) => ask_other_toolboxes(&self.client, fleet, &self.sandbox).await,
            None => Others::Absent,
        }
    }

    async fn ask(&self, claim: &Failure) -> ApiAnswer {
        match self.client.get_sandbox(self.sandbox.as_str()).await {
            Ok(Some(sandbox)) => ApiAnswer::State(sandbox.state, sandbox.error_reason),
            Ok(None) => ApiAnswer::Gone,
            Err(error) => ApiAnswer::Failed(from_read(&error, claim.stage)),
        }
    }
}
