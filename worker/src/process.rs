//! One job from its commit to a promoted prebuild. Reads top to bottom; every stage is a file of its own in `stages`.
//!
//! While a sandbox exists its lease is held, and on every way out it is released: nothing here returns past a lease.

use chrono::{DateTime, Utc};
use daytona::Snapshot;
use job::{
    BuildMode, Completeness, Failure, FailureKind, Manifest, Outcome, PrebuildName, PrebuildRecord, Stage,
};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Interrupts};
use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::lease::{self, Labels, Lease};
use crate::parts::Parts;
use crate::stages::resolve::{Present, Wanted};
use crate::stages::{build_in_sandbox, capture, promote, provision, resolve, verify};

/// How often what is wanted may change under an attempt before the attempt gives up on catching it.
const ROUNDS: u32 = 4;

/// Brings the attempt's target up to date, or says why not.
pub(crate) async fn process(parts: &Parts, attempt: &Attempt, leaving: &CancellationToken) -> Outcome {
    for _ in 0..ROUNDS {
        match Box::pin(round(parts, attempt, leaving)).await {
            Ok(outcome) => return outcome,
            Err(EarlyEnd::Outcome(outcome)) => return *outcome,
            Err(EarlyEnd::ResolveAgain(ResolveAgain::CommitGone)) => {
                tracing::info!("the wanted commit was pushed away meanwhile; looking again");
            }
            Err(EarlyEnd::ResolveAgain(ResolveAgain::BaseGone)) => {
                tracing::info!("the base snapshot was taken away meanwhile; looking again");
            }
        }
    }
    Outcome::Failed(Failure::new(
        FailureKind::CloneFailed,
        "the branch was pushed over, or its base snapshot taken away, again and again while it was fetched",
    ))
}

async fn round(parts: &Parts, attempt: &Attempt, leaving: &CancellationToken) -> Result<Outcome, EarlyEnd> {
    let no_lease = CancellationToken::new();
    let outside = Interrupts { leaving, lease_lost: &no_lease };
    let (wanted, present) = attempt.stage(Stage::Resolve, outside, look(parts, attempt)).await?;
    match present {
        Present::Promoted(prebuild) => return Ok(Outcome::Unchanged(prebuild)),
        Present::Kept(prebuild) => return promote_again(parts, attempt, outside, prebuild).await,
        Present::Unpromoted(_) | Present::Nothing => {}
    }

    attempt.announce();
    let wish = lease::wish(
        &attempt.sandbox_name(),
        &wanted.base_snapshot,
        parts.sandboxes.auto_stop,
        parts.sandboxes.ttl,
    );
    let labels = labels(attempt);
    let taken = Box::pin(provision::run(attempt, &parts.leases, &parts.sandboxes, &wish, &labels));
    let lease = match attempt.stage(Stage::Provision, outside, taken).await {
        Ok(lease) => lease,
        Err(end) => return Err(parts.base.after_provision(&wanted.base_snapshot, end).await),
    };

    let inside = lease.lost().clone();
    let interrupts = Interrupts { leaving, lease_lost: &inside };
    let captured = build_and_capture(parts, attempt, &lease, &wanted, interrupts).await;
    lease.release().await;
    Box::pin(verify_and_promote(parts, attempt, leaving, &wanted, &captured?)).await
}

/// What stands in the register, by the cheapest look.
async fn look(parts: &Parts, attempt: &Attempt) -> Result<(Wanted, Present), EarlyEnd> {
    let state = parts.register.get(&attempt.job.target);
    let credential = parts.credential_of(attempt);
    let base = parts.base.id_of(&parts.base_of(attempt)?).await?;
    let wanted = resolve::wanted(attempt, &parts.remote, credential.as_ref(), base, state.as_deref()).await?;
    let present = resolve::registered(&parts.leases.client, state.as_deref(), &wanted).await?;
    Ok((wanted, present))
}

async fn promote_again(
    parts: &Parts,
    attempt: &Attempt,
    outside: Interrupts<'_>,
    prebuild: PrebuildRecord,
) -> Result<Outcome, EarlyEnd> {
    attempt.announce();
    // Another worker may have promoted since our copy of the register was read: never put its state back.
    parts.caught_up().await?;
    let keep = attempt.job.settings.keep;
    let promoted = promote::run(attempt, &parts.register, &prebuild, keep);
    attempt.stage(Stage::Promote, outside, promoted).await?;
    Ok(Outcome::Built(prebuild))
}

/// A snapshot that nobody has verified yet.
struct Captured {
    name: PrebuildName,
    snapshot: Snapshot,
}

/// Builds in the leased sandbox and captures it, unless another attempt has done so between resolving and the lease.
async fn build_and_capture(
    parts: &Parts,
    attempt: &Attempt,
    lease: &Lease,
    wanted: &Wanted,
    interrupts: Interrupts<'_>,
) -> Result<Captured, EarlyEnd> {
    // Only now, with the lease held, does a look at the register and at Daytona stay true.
    parts.caught_up().await?;
    let client = &parts.leases.client;
    let state = parts.register.get(&attempt.job.target);
    if let Present::Promoted(prebuild) | Present::Kept(prebuild) =
        resolve::registered(client, state.as_deref(), wanted).await?
    {
        return Err(Outcome::Unchanged(prebuild).into());
    }
    if let Present::Unpromoted(name) = resolve::unregistered(client, &attempt.sandbox_name(), wanted).await?
        && !verify::is_given_up(attempt, &name)
        && let Ok(Some(snapshot)) = client.get_snapshot(name.to_string()).await
    {
        tracing::info!(prebuild = %name, "a captured prebuild nobody promoted is taken up at verify");
        return Ok(Captured { name, snapshot });
    }

    let name = PrebuildName::new(
        attempt.sandbox_name(),
        &wanted.commit,
        &wanted.fingerprint,
        BuildMode::Cold,
        attempt.id,
    );
    build_in_sandbox::run(parts, attempt, lease, wanted, &name, interrupts).await?;
    lease.confirm(Stage::Capture).await?;
    let within = attempt.job.settings.timeouts.capture;
    let snapshot =
        attempt.stage(Stage::Capture, interrupts, capture::run(client, lease, &name, within)).await?;
    Ok(Captured { name, snapshot })
}

/// The lease is held through the promotion, so that nobody builds the same again between verify and promote.
async fn verify_and_promote(
    parts: &Parts,
    attempt: &Attempt,
    leaving: &CancellationToken,
    wanted: &Wanted,
    Captured { name, snapshot }: &Captured,
) -> Result<Outcome, EarlyEnd> {
    let no_lease = CancellationToken::new();
    let outside = Interrupts { leaving, lease_lost: &no_lease };
    let wish = lease::wish(
        &attempt.sandbox_name(),
        snapshot.id.as_str(),
        parts.sandboxes.auto_stop,
        parts.sandboxes.ttl,
    );
    let labels = labels(attempt);
    let (lease, cold_start) =
        attempt.stage(Stage::Verify, outside, verify::start(&parts.leases, &wish, &labels)).await?;
    parts.metrics.cold_start(cold_start);

    let inside = lease.lost().clone();
    let interrupts = Interrupts { leaving, lease_lost: &inside };
    let promoted = async {
        if let Some(prebuild) = promoted_by_another(parts, attempt, name).await? {
            return Err(Outcome::Unchanged(prebuild).into());
        }
        let checked = verify::run(parts, attempt, &lease, wanted, name);
        let manifest = attempt.stage(Stage::Verify, interrupts, checked).await?;
        let prebuild = record(&manifest, snapshot, cold_start);
        let promoted = promote::run(attempt, &parts.register, &prebuild, attempt.job.settings.keep);
        let state = attempt.stage(Stage::Promote, interrupts, promoted).await?;
        Ok::<_, EarlyEnd>((manifest, prebuild, state))
    }
    .await;
    lease.release().await;
    if let Err(end) = &promoted
        && verify::condemns(end)
    {
        verify::discard(&parts.leases.client, snapshot).await;
    }
    let (manifest, prebuild, state) = promoted?;
    promote::collect(&parts.leases.client, &attempt.sandbox_name(), &state, parts.limits.in_use_for).await;
    Ok(match manifest.build_failure {
        Some(failure) => Outcome::Partial { prebuild, failure },
        None => Outcome::Built(prebuild),
    })
}

/// Between the build's lease and the verification's the name is free, and who takes it then goes on with this very
/// snapshot. What sessions are given already is not judged again: a failure would delete it.
async fn promoted_by_another(
    parts: &Parts,
    attempt: &Attempt,
    name: &PrebuildName,
) -> Result<Option<PrebuildRecord>, EarlyEnd> {
    parts.caught_up().await?;
    let state = parts.register.get(&attempt.job.target);
    Ok(state.and_then(|state| state.prebuilds().find(|prebuild| prebuild.name == *name).cloned()))
}

fn record(manifest: &Manifest, snapshot: &Snapshot, cold_start: std::time::Duration) -> PrebuildRecord {
    PrebuildRecord {
        name: manifest.prebuild.clone(),
        snapshot_id: snapshot.id.to_string(),
        commit: manifest.commit.clone(),
        fingerprint: manifest.fingerprint.clone(),
        mode: manifest.mode,
        completeness: if manifest.build_failure.is_some() {
            Completeness::Partial
        } else {
            Completeness::Complete
        },
        flags: manifest.flags.clone(),
        attempt: manifest.attempt,
        built_at: snapshot.created_at.map_or(manifest.finished_at, |at: DateTime<Utc>| at),
        size_gb: snapshot.size,
        cold_start_milliseconds: Some(crate::attempt::milliseconds(cold_start)),
    }
}

fn labels(attempt: &Attempt) -> Labels {
    Labels {
        fleet: attempt.job.fleet.clone(),
        target: attempt.job.target.clone(),
        job: attempt.job.id,
        attempt: attempt.id,
        holder: attempt.worker.clone(),
        generation: 1,
        beat: 0,
    }
}
