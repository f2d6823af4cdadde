//! One job from its commit to a promoted prebuild. Reads top to bottom; every stage is a file of its own in `stages`.
//!
//! While a sandbox exists its lease is held, and on every way out it is released: nothing here returns past a lease.

use std::time::Duration;

use job::{EntryVersion, Failure, FailureKind, Outcome, PrebuildName, PrebuildRecord, Stage};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Interrupts};
use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::lease::{Lease, Place};
use crate::losses::Losses;
use crate::stages::baseline;
use crate::stages::build_in_sandbox::{Builder, Captured, KnownManifest};
use crate::stages::promote::{Promoter, prebuild_record};
use crate::stages::provision::Provisioner;
use crate::stages::resolve::{Present, Resolver, Wanted};
use crate::stages::verify::{self, Verifier};

/// How often what is wanted may change under an attempt before the attempt gives up on catching it.
const ROUNDS: u32 = 4;

/// The stages of an attempt, in the order they run.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) resolver: Resolver,
    pub(crate) provisioner: Provisioner,
    pub(crate) builder: Builder,
    pub(crate) verifier: Verifier,
    pub(crate) promoter: Promoter,
    pub(crate) losses: Losses,
}

impl Pipeline {
    /// Brings the attempt's target up to date, or says why not.
    pub(crate) async fn process(&self, attempt: &Attempt, leaving: &CancellationToken) -> Outcome {
        for _ in 0..ROUNDS {
            match self.round(attempt, leaving).await {
                Ok(outcome) => return outcome,
                Err(EarlyEnd::Outcome(outcome)) => return *outcome,
                Err(EarlyEnd::ResolveAgain(ResolveAgain::CommitGone)) => {
                    tracing::info!("the wanted commit was pushed away meanwhile; looking again");
                }
                Err(EarlyEnd::ResolveAgain(ResolveAgain::BaseGone)) => {
                    tracing::info!("the base snapshot was taken away meanwhile; looking again");
                }
                Err(EarlyEnd::ResolveAgain(ResolveAgain::PromotedMeanwhile)) => {
                    tracing::info!("another attempt promoted a prebuild meanwhile; looking again");
                }
            }
        }
        Outcome::Failed(Failure::new(
            FailureKind::CloneFailed,
            "the branch was pushed over, or its base snapshot taken away, again and again while it was fetched",
        ))
    }

    async fn round(&self, attempt: &Attempt, leaving: &CancellationToken) -> Result<Outcome, EarlyEnd> {
        let no_lease = CancellationToken::new();
        let outside = Interrupts { leaving, lease_lost: &no_lease };
        let (wanted, present) = attempt.stage(Stage::Resolve, outside, self.resolver.run(attempt)).await?;
        match present {
            Present::Promoted(prebuild) => return Ok(Outcome::Unchanged(prebuild)),
            Present::Kept(prebuild) => {
                return self.promote_again(attempt, outside, prebuild, wanted.promotion).await;
            }
            Present::Unpromoted(_) | Present::Nothing => {}
        }

        attempt.announce();
        let provisioned = self.provisioner.run(attempt, &wanted);
        // Kept to the end of the round: verify takes another sandbox in the place of the first.
        let (lease, _admission) = match attempt.stage(Stage::Provision, outside, provisioned).await {
            Ok(provisioned) => provisioned,
            Err(end) => return Err(self.resolver.resolve_again_if_base_gone(&wanted, end).await),
        };
        let interrupts = Interrupts { leaving, lease_lost: lease.lost() };
        let captured = match self.build_and_capture(attempt, &lease, &wanted, interrupts).await {
            Ok(captured) => Ok(captured),
            Err(end) => Err(self.losses.explain(attempt, &wanted, &lease, end).await),
        };
        let place = lease.place();
        lease.release().await;
        self.verify_and_promote(attempt, leaving, &wanted, &captured?, place).await
    }

    /// Points the register back at a prebuild that it keeps from before.
    async fn promote_again(
        &self,
        attempt: &Attempt,
        outside: Interrupts<'_>,
        prebuild: PrebuildRecord,
        follows: Option<EntryVersion>,
    ) -> Result<Outcome, EarlyEnd> {
        attempt.announce();
        attempt.stage(Stage::Promote, outside, self.promoter.run(attempt, &prebuild, follows)).await?;
        Ok(Outcome::Built(prebuild))
    }

    /// Builds in the leased sandbox and captures it, unless another attempt has done so between resolving and the lease.
    async fn build_and_capture(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        wanted: &Wanted,
        interrupts: Interrupts<'_>,
    ) -> Result<Captured, EarlyEnd> {
        match self.resolver.run_with_lease(attempt, wanted).await? {
            Present::Promoted(prebuild) | Present::Kept(prebuild) => {
                return Err(Outcome::Unchanged(prebuild).into());
            }
            Present::Unpromoted(name) => {
                if let Some(captured) = self.take_up(attempt, name).await {
                    return Ok(captured);
                }
            }
            Present::Nothing => {}
        }
        self.builder.run(attempt, lease, wanted, interrupts).await
    }

    /// A captured prebuild that nobody came to promote, when a worker's word is known of what it must hold: its own is none.
    async fn take_up(&self, attempt: &Attempt, name: PrebuildName) -> Option<Captured> {
        if verify::is_given_up(attempt, &name) {
            return None;
        }
        let Some(recorded) = self.builder.records.find(&attempt.job.target, &name) else {
            tracing::warn!(prebuild = %name, "nobody says what a captured prebuild must hold; it is built anew");
            return None;
        };
        if recorded.baseline != baseline::method() {
            tracing::info!(prebuild = %name, "a captured prebuild of another version of the worker is built anew");
            return None;
        }
        let snapshot = self.resolver.find_captured(&name).await?;
        tracing::info!(prebuild = %name, "a captured prebuild nobody promoted is taken up at verify");
        Some(Captured { name, snapshot, manifest: KnownManifest::Recorded { digest: recorded.manifest } })
    }

    /// Verifies under a lease of its own, which is held through the promotion, so that nobody builds the same again between
    /// verify and promote.
    async fn verify_and_promote(
        &self,
        attempt: &Attempt,
        leaving: &CancellationToken,
        wanted: &Wanted,
        captured: &Captured,
        place: Place,
    ) -> Result<Outcome, EarlyEnd> {
        let no_lease = CancellationToken::new();
        let outside = Interrupts { leaving, lease_lost: &no_lease };
        let started = self.verifier.start(attempt, &captured.snapshot, place);
        let (lease, cold_start) = attempt.stage(Stage::Verify, outside, started).await?;
        let interrupts = Interrupts { leaving, lease_lost: lease.lost() };
        let promoted =
            match self.promote_verified(attempt, &lease, wanted, captured, cold_start, interrupts).await {
                Ok(promoted) => Ok(promoted),
                Err(end) => Err(self.losses.explain(attempt, wanted, &lease, end).await),
            };
        lease.release().await;
        if let Err(end) = &promoted
            && verify::condemns(end)
        {
            self.verifier.discard(&captured.snapshot).await;
        }
        promoted
    }

    async fn promote_verified(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        wanted: &Wanted,
        captured: &Captured,
        cold_start: Duration,
        interrupts: Interrupts<'_>,
    ) -> Result<Outcome, EarlyEnd> {
        // Between the build's lease and this one the name is free, and who takes it then goes on with this very snapshot.
        // What sessions are given already is not judged again: a failure would delete it.
        if let Some(prebuild) = self.promoter.find_promoted(attempt, &captured.name).await? {
            return Err(Outcome::Unchanged(prebuild).into());
        }
        let verified = self.verifier.run(attempt, lease, wanted, captured);
        let manifest = attempt.stage(Stage::Verify, interrupts, verified).await?;
        let prebuild = prebuild_record(&manifest, &captured.snapshot, cold_start);
        lease.confirm(Stage::Promote).await?;
        let promoted = self.promoter.run(attempt, &prebuild, wanted.promotion);
        attempt.stage(Stage::Promote, interrupts, promoted).await?;
        Ok(match manifest.build_failure {
            Some(failure) => Outcome::Partial { prebuild, failure },
            None => Outcome::Built(prebuild),
        })
    }
}
