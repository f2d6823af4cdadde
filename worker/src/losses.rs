//! What it means that an attempt's sandbox is not there any more: it passed to another attempt, or it was lost, and then whose
//! fault that is.

use daytona::Client;
use job::{Failure, FailureKind, Outcome, Stage};

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::{Others, from_loss, is_there};
use crate::lease::Lease;
use crate::others::look_at_others;
use crate::stages::resolve::Wanted;
use crate::target_register::TargetRegister;

/// Finds out what became of sandboxes that are not there any more.
#[derive(Debug)]
pub(crate) struct Losses {
    pub(crate) client: Client,
    pub(crate) register: TargetRegister,
}

impl Losses {
    /// The end of an attempt whose sandbox, held by `lease`, may be gone; any other end as it is.
    pub(crate) async fn explain(
        &self,
        attempt: &Attempt,
        wanted: &Wanted,
        lease: &Lease,
        end: EarlyEnd,
    ) -> EarlyEnd {
        let EarlyEnd::Outcome(outcome) = &end else { return end };
        let lost = match &**outcome {
            Outcome::LeaseLost => gone(attempt),
            Outcome::Failed(failure) if failure.id == FailureKind::SandboxLost => failure.clone(),
            Outcome::Failed(_)
            | Outcome::Built(_)
            | Outcome::Partial { .. }
            | Outcome::Unchanged(_)
            | Outcome::OverQuota
            | Outcome::StillFailing(_)
            | Outcome::Superseded
            | Outcome::Busy { .. }
            | Outcome::Cancelled
            | Outcome::Paused
            | Outcome::Interrupted => return end,
        };
        match self.client.get_sandbox(lease.sandbox().name.as_str()).await {
            Ok(Some(holder)) if holder.id != lease.sandbox().id => return Outcome::LeaseLost.into(),
            // Its labels say that it is another's: it is not gone.
            Ok(Some(ours)) if **outcome == Outcome::LeaseLost && is_there(&ours.state) => return end,
            Ok(Some(_) | None) => {}
            Err(_) => return end,
        }
        if lost.stage < Stage::Install {
            return lost.into();
        }
        let state = self.register.get(&attempt.job.target);
        let before = state
            .as_ref()
            .and_then(|state| state.lost_sandbox.as_ref())
            .filter(|lost| lost.commit == wanted.commit && lost.fingerprint == wanted.fingerprint);
        let others = if before.is_some() {
            look_at_others(&self.client, &attempt.job.fleet, &lease.sandbox().id).await
        } else {
            Others::Absent
        };
        from_loss(lost, before, others).into()
    }
}

/// The failure of an attempt whose sandbox vanished from under it, at the stage it had come to.
fn gone(attempt: &Attempt) -> Failure {
    let stage = attempt.facts().stages.last().map_or(Stage::Provision, |report| report.stage);
    Failure::new(FailureKind::SandboxLost, "the sandbox is gone, as Daytona's API says").at(stage)
}
