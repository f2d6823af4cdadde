//! One job from its commit to a promoted prebuild. Reads top to bottom; every stage is a file of its own in `stages`.
//!
//! While a sandbox exists its lease is held, and on every way out it is released: nothing here returns past a lease.

use chrono::{DateTime, Utc};
use daytona::Snapshot;
use job::{
    BuildMode, Completeness, Failure, FailureKind, Manifest, Outcome, PrebuildName, PrebuildRecord, Stage,
    TargetState,
};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Ended, Interrupts};
use crate::lease::{self, Labels, Lease};
use crate::parts::Parts;
use crate::stages::build_in_sandbox::Prepared;
use crate::stages::resolve::{Present, Wanted};
use crate::stages::{build_in_sandbox, capture, promote, provision, resolve, verify};

/// Brings the attempt's target up to date, or says why not.
pub(crate) async fn process(parts: &Parts, attempt: &Attempt, leaving: &CancellationToken) -> Outcome {
    Box::pin(refresh(parts, attempt, leaving)).await.unwrap_or_else(Ended::into_outcome)
}

/// How often what is wanted may change under an attempt before the attempt gives up on catching it.
const ROUNDS: u32 = 4;

async fn refresh(parts: &Parts, attempt: &Attempt, leaving: &CancellationToken) -> Result<Outcome, Ended> {
    for _ in 0..ROUNDS {
        match Box::pin(round(parts, attempt, leaving)).await? {
            Round::Ended(outcome) => return Ok(*outcome),
            Round::CommitGone => {
                tracing::info!("the wanted commit was pushed away meanwhile; looking again");
            }
            Round::BaseGone => tracing::info!("the base snapshot was taken away meanwhile; looking again"),
        }
    }
    Err(Failure::new(
        FailureKind::CloneFailed,
        "the branch was pushed over, or its base snapshot taken away, again and again while it was fetched",
    )
    .into())
}

enum Round {
    Ended(Box<Outcome>),
    CommitGone,
    BaseGone,
}

async fn round(parts: &Parts, attempt: &Attempt, leaving: &CancellationToken) -> Result<Round, Ended> {
    let no_lease = CancellationToken::new();
    let outside = Interrupts { leaving, lease_lost: &no_lease };
    let (wanted, present) = attempt.stage(Stage::Resolve, outside, look(parts, attempt)).await?;
    match present {
        Present::Promoted(prebuild) => return Ok(Round::Ended(Box::new(Outcome::Unchanged(prebuild)))),
        Present::Kept(prebuild) => {
            return promote_again(parts, attempt, outside, prebuild)
                .await
                .map(|outcome| Round::Ended(Box::new(outcome)));
        }
        Present::Unpromoted(_) | Present::Nothing => {}
    }

    attempt.announce();
    let wish =
        lease::wish(&attempt.sandbox_name(), &wanted.base_snapshot, parts.limits.idle, parts.limits.ttl);
    let labels = labels(attempt);
    let taken = Box::pin(provision::run(attempt, &parts.leases, parts.room, &wish, &labels));
    let lease = match attempt.stage(Stage::Provision, outside, taken).await {
        Ok(lease) => lease,
        Err(ended) if parts.base.was_taken_away(&wanted.base_snapshot, &ended).await => {
            return Ok(Round::BaseGone);
        }
        Err(ended) => return Err(ended),
    };

    let inside = lease.lost().clone();
    let captured =
        captured(parts, attempt, &lease, &wanted, Interrupts { leaving, lease_lost: &inside }).await;
    lease.release().await;
    match captured? {
        Captured::Already(outcome) => Ok(Round::Ended(outcome)),
        Captured::CommitGone => Ok(Round::CommitGone),
        Captured::Snapshot { name, snapshot } => {
            let promoted = verified_and_promoted(parts, attempt, leaving, &wanted, &name, &snapshot);
            Box::pin(promoted).await.map(|outcome| Round::Ended(Box::new(outcome)))
        }
    }
}

/// What stands in the register, by the cheapest look.
async fn look(parts: &Parts, attempt: &Attempt) -> Result<(Wanted, Present), Ended> {
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
) -> Result<Outcome, Ended> {
    attempt.announce();
    // Another worker may have promoted since our copy of the register was read: never put its state back.
    parts.caught_up().await?;
    let keep = attempt.job.settings.keep;
    let promoted = promote::run(attempt, &parts.register, &prebuild, keep);
    attempt.stage(Stage::Promote, outside, promoted).await?;
    Ok(Outcome::Built(prebuild))
}

/// What came out of the leased sandbox.
enum Captured {
    /// Another attempt was faster, between our look and our lease.
    Already(Box<Outcome>),
    /// The commit was pushed away while it was fetched.
    CommitGone,
    /// A snapshot nobody has verified yet.
    Snapshot { name: PrebuildName, snapshot: Box<Snapshot> },
}

async fn captured(
    parts: &Parts,
    attempt: &Attempt,
    lease: &Lease,
    wanted: &Wanted,
    interrupts: Interrupts<'_>,
) -> Result<Captured, Ended> {
    // Only now, with the lease held, does a look at the register and at Daytona stay true.
    parts.caught_up().await?;
    let client = &parts.leases.client;
    let state = parts.register.get(&attempt.job.target);
    if let Present::Promoted(prebuild) | Present::Kept(prebuild) =
        resolve::registered(client, state.as_deref(), wanted).await?
    {
        return Ok(Captured::Already(Box::new(Outcome::Unchanged(prebuild))));
    }
    if let Present::Unpromoted(name) = resolve::unregistered(client, &attempt.sandbox_name(), wanted).await?
        && !verify::is_given_up(attempt, &name)
        && let Ok(Some(snapshot)) = client.get_snapshot(name.to_string()).await
    {
        tracing::info!(prebuild = %name, "a captured prebuild nobody promoted is taken up at verify");
        return Ok(Captured::Snapshot { name, snapshot: Box::new(snapshot) });
    }

    let name = PrebuildName::new(
        attempt.sandbox_name(),
        &wanted.commit,
        &wanted.fingerprint,
        BuildMode::Cold,
        attempt.id,
    );
    if build_in_sandbox::run(parts, attempt, lease, wanted, &name, interrupts).await? == Prepared::CommitGone
    {
        return Ok(Captured::CommitGone);
    }
    lease.confirm(Stage::Capture).await?;
    let within = attempt.job.settings.timeouts.capture;
    let snapshot =
        attempt.stage(Stage::Capture, interrupts, capture::run(client, lease, &name, within)).await?;
    Ok(Captured::Snapshot { name, snapshot: Box::new(snapshot) })
}

/// The lease is held through the promotion, so that nobody builds the same again between verify and promote.
async fn verified_and_promoted(
    parts: &Parts,
    attempt: &Attempt,
    leaving: &CancellationToken,
    wanted: &Wanted,
    name: &PrebuildName,
    snapshot: &Snapshot,
) -> Result<Outcome, Ended> {
    let no_lease = CancellationToken::new();
    let outside = Interrupts { leaving, lease_lost: &no_lease };
    let wish =
        lease::wish(&attempt.sandbox_name(), snapshot.id.as_str(), parts.limits.idle, parts.limits.ttl);
    let labels = labels(attempt);
    let (lease, cold_start) =
        attempt.stage(Stage::Verify, outside, verify::start(&parts.leases, &wish, &labels)).await?;
    parts.metrics.cold_start(cold_start);

    let inside = lease.lost().clone();
    let interrupts = Interrupts { leaving, lease_lost: &inside };
    let promoted = async {
        if let Some(prebuild) = promoted_by_another(parts, attempt, name).await? {
            return Ok(Promoted::ByAnother(Box::new(prebuild)));
        }
        let checked = verify::run(parts, attempt, &lease, wanted, name);
        let manifest = attempt.stage(Stage::Verify, interrupts, checked).await?;
        let prebuild = record(&manifest, snapshot, cold_start);
        let promoted = promote::run(attempt, &parts.register, &prebuild, attempt.job.settings.keep);
        let state = attempt.stage(Stage::Promote, interrupts, promoted).await?;
        Ok::<_, Ended>(Promoted::Here(Box::new((manifest, prebuild, state))))
    }
    .await;
    lease.release().await;
    if let Err(ended) = &promoted
        && verify::condemns(ended.outcome())
    {
        verify::discard(&parts.leases.client, snapshot).await;
    }
    let (manifest, prebuild, state) = match promoted? {
        Promoted::Here(promoted) => *promoted,
        Promoted::ByAnother(prebuild) => return Ok(Outcome::Unchanged(*prebuild)),
    };
    promote::collect(&parts.leases.client, &attempt.sandbox_name(), &state, parts.limits.in_use_for).await;
    Ok(match manifest.build_failure {
        Some(failure) => Outcome::Partial { prebuild, failure },
        None => Outcome::Built(prebuild),
    })
}

/// Who promoted a captured snapshot.
enum Promoted {
    /// This attempt.
    Here(Box<(Manifest, PrebuildRecord, TargetState)>),
    /// Another one.
    ByAnother(Box<PrebuildRecord>),
}

/// Between the build's lease and the verification's the name is free, and who takes it then goes on with this very
/// snapshot. What sessions are given already is not judged again: a failure would delete it.
async fn promoted_by_another(
    parts: &Parts,
    attempt: &Attempt,
    name: &PrebuildName,
) -> Result<Option<PrebuildRecord>, Ended> {
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
