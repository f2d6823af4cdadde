//! Who is asked when a sandbox says something odd of itself: Daytona's API, which no repository answers for.

use std::time::Duration;

use daytona::{Client, SandboxId};
use job::Failure;

use crate::failures::{ApiAnswer, believe, from_read, is_claim, is_there};

/// The API may be a moment behind what has just become of a sandbox, so one that is said to be there is looked at again.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// Asks Daytona's API how one sandbox stands.
#[derive(Debug, Clone)]
pub struct SandboxWitness {
    client: Client,
    sandbox: SandboxId,
}

impl SandboxWitness {
    /// The witness of this sandbox, whoever has its name later.
    pub fn of(client: &Client, sandbox: &daytona::Sandbox) -> Self {
        Self { client: client.clone(), sandbox: sandbox.id.clone() }
    }

    /// What is to be believed of a failure that the sandbox itself speaks of: the same before install, when nothing of the
    /// repository's has run in it, and from then on what the API says.
    pub(crate) async fn examine(&self, claim: Failure) -> Failure {
        if !is_claim(&claim) {
            return claim;
        }
        let mut answer = self.ask(&claim).await;
        if matches!(&answer, ApiAnswer::State(state, _) if is_there(state)) {
            // Once, and for seconds: whoever waits for this failure has waited for the sandbox already.
            tokio::time::sleep(SECOND_LOOK).await;
            answer = self.ask(&claim).await;
        }
        believe(&claim, answer)
    }

    async fn ask(&self, claim: &Failure) -> ApiAnswer {
        match self.client.get_sandbox(self.sandbox.as_str()).await {
            Ok(Some(sandbox)) => ApiAnswer::State(sandbox.state, sandbox.error_reason),
            Ok(None) => ApiAnswer::Gone,
            Err(error) => ApiAnswer::Failed(from_read(&error, claim.stage)),
        }
    }
}
