//! Which commit is wanted, and is there a prebuild of it already? Costs one ref look-up and one snapshot look-up.

use std::sync::Arc;

use account::Purpose;
use chrono::Utc;
use daytona::{Client, Snapshot, SnapshotState};
use job::{
    AttemptId, Commit, EntryVersion, Failure, FailureKind, Fingerprint, FingerprintInputs, Outcome,
    PrebuildName, PrebuildRecord, SandboxName, Stage, StandingFailure, TargetState,
};
use remote::{HeadError, Remote};
use url::Url;

use crate::attempt::Attempt;
use crate::base::{Base, BaseSnapshots};
use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::failures::{from_call, from_head};
use crate::given_secrets::GivenSecrets;
use crate::job_secrets::JobSecrets;
use crate::target_register::TargetRegister;

/// What the branch's head and the target's settings ask for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) commit: Commit,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) base: Base,
    /// The bytes that the promoted prebuild added to its base, where there is one and they were measured.
    pub(crate) predecessor_bytes: Option<i64>,
    /// Whether it has to be built, as far as register and Daytona show.
    pub(crate) purpose: Purpose,
    /// The promotion that the register showed before the branch was looked up: the one that this attempt's own follows.
    pub(crate) promotion: Option<EntryVersion>,
}

/// What there is already of what is wanted.
#[derive(Debug)]
pub(crate) enum Present {
    /// The promoted prebuild is of this commit and fingerprint.
    Promoted(PrebuildRecord),
    /// A prebuild that is kept from before is of this commit and fingerprint.
    Kept(PrebuildRecord),
    /// Daytona has a snapshot of it that nobody has verified or promoted.
    Unpromoted(PrebuildName),
    /// No prebuild of this commit and fingerprint exists.
    Nothing,
}

/// Finds out what is wanted, and what there is of it.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) client: Client,
    pub(crate) remote: Remote,
    pub(crate) bases: BaseSnapshots,
    pub(crate) secrets: Arc<JobSecrets>,
    pub(crate) register: TargetRegister,
}

impl Resolver {
    /// What is wanted, and whether the register knows of it, by the cheapest questions.
    pub(crate) async fn run(&self, attempt: &Attempt) -> Result<(Wanted, Present), EarlyEnd> {
        let state = self.register.get(&attempt.job.target);
        end_if_paused(state.as_deref())?;
        self.secrets.check(&attempt.job)?;
        let base = self.bases.find(&attempt.job).await?;
        let wanted = self.find_wanted(attempt, base, state.as_deref()).await?;
        let present = find_registered(&self.client, state.as_deref(), &wanted).await?;
        Ok((wanted, present))
    }

    /// What there is of it once the lease is held: only then does an answer of the register and of Daytona stay true. Where a
    /// promotion was made since the branch was looked up, what is wanted may be older than what it promoted. Where a newer attempt
    /// has promoted, this one can't any more: its job begins anew before anything is built.
    pub(crate) async fn run_with_lease(
        &self,
        attempt: &Attempt,
        wanted: &Wanted,
    ) -> Result<Present, EarlyEnd> {
        let state = self.register.catch_up_and_get(&attempt.job.target).await?;
        end_if_paused(state.as_deref())?;
        match find_registered(&self.client, state.as_deref(), wanted).await? {
            Present::Nothing if state.as_deref().and_then(|state| state.promotion) != wanted.promotion => {
                Err(ResolveAgain::PromotedMeanwhile.into())
            }
            Present::Nothing if is_overtaken(state.as_deref(), attempt.id) => Err(Outcome::LeaseLost.into()),
            Present::Nothing => {
                find_unregistered(&self.client, &attempt.sandbox_name(), wanted, state.as_deref()).await
            }
            registered @ (Present::Promoted(_) | Present::Kept(_) | Present::Unpromoted(_)) => Ok(registered),
        }
    }

    /// What ends an attempt that got no sandbox: another round, when that is because its base was taken away.
    pub(crate) async fn resolve_again_if_base_gone(&self, wanted: &Wanted, end: EarlyEnd) -> EarlyEnd {
        self.bases.resolve_again_if_taken_away(&wanted.base.id, end).await
    }

    /// The captured snapshot of an attempt that did not come to promote it, when it can be read.
    pub(crate) async fn find_captured(&self, name: &PrebuildName) -> Option<Snapshot> {
        self.client.get_snapshot(name.to_string()).await.ok().flatten()
    }

    /// Asks the git host and names the inputs.
    async fn find_wanted(
        &self,
        attempt: &Attempt,
        base: Base,
        state: Option<&TargetState>,
    ) -> Result<Wanted, EarlyEnd> {
        let settings = &attempt.job.settings;
        let fingerprint = FingerprintInputs::new(settings, &base.id).fingerprint();
        attempt.note_fingerprint(&fingerprint);
        let url = Url::parse(&settings.clone.url).map_err(|error| {
            Failure::new(
                FailureKind::CloneRepositoryMissing,
                format!("clone_url is not a URL: {error}; correct fleet.toml"),
            )
        })?;
        let credential = self.secrets.credential(&attempt.job)?;
        let head = match self.remote.head(&url, attempt.job.target.branch(), credential.as_ref()).await {
            Ok(head) => head,
            Err(error) => return Err(end_without_head(attempt, &error, &url, &fingerprint, state)),
        };
        let commit: Commit = head
            .commit
            .as_str()
            .parse()
            .map_err(|error| Failure::new(FailureKind::CloneFailed, error_chain::line(&error)))?;
        attempt.note_commit(&commit);
        if let Some(standing) = state
            .and_then(|state| standing_failure(state, Some(&commit), &fingerprint))
            .filter(|standing| !attempt.job.forced && self.has_same_secrets(attempt, standing))
        {
            return Err(Outcome::StillFailing(standing.failure).into());
        }
        let promotion = state.and_then(|state| state.promotion);
        let predecessor_bytes = state.and_then(|state| state.promoted.as_ref()?.added_bytes);
        let captured = state.and_then(|state| state.captured.as_ref()).map(|captured| &captured.name);
        let purpose = match captured.filter(|name| name.holds(&commit, &fingerprint)) {
            // Noted before the capture, which may have come to nothing.
            Some(name)
                if self
                    .find_captured(name)
                    .await
                    .is_some_and(|found| found.state == SnapshotState::Active) =>
            {
                Purpose::Verify
            }
            Some(_) | None => Purpose::Build,
        };
        Ok(Wanted { commit, fingerprint, base, predecessor_bytes, purpose, promotion })
    }

    /// Whether the secrets that a failure is about are the ones they were; a failure that is about none is not asked.
    fn has_same_secrets(&self, attempt: &Attempt, standing: &StandingFailure) -> bool {
        let Some(check) = &standing.secrets else { return true };
        let job = &attempt.job;
        let (Ok(credential), Ok(environment)) = (self.secrets.credential(job), self.secrets.environment(job))
        else {
            return false;
        };
        GivenSecrets::new(credential.as_ref(), &environment).pass(check)
    }
}

/// Nothing is built of a target that an operator has paused; what is under way there ends before it has begun to build.
fn end_if_paused(state: Option<&TargetState>) -> Result<(), EarlyEnd> {
    match state.and_then(|state| state.pause_at(Utc::now())) {
        Some(_) => Err(Outcome::Paused.into()),
        None => Ok(()),
    }
}

/// The end of an attempt whose commit is not known: what stands in the register already, or the failure.
fn end_without_head(
    attempt: &Attempt,
    error: &HeadError,
    url: &Url,
    fingerprint: &Fingerprint,
    state: Option<&TargetState>,
) -> EarlyEnd {
    let host = url.host_str().unwrap_or("localhost");
    let failure = from_head(error, host, &attempt.job.settings.clone.token_secret);
    let standing = state.and_then(|state| standing_failure(state, None, fingerprint));
    match standing {
        Some(standing) if standing.failure.id == failure.id && !attempt.job.forced => {
            Outcome::StillFailing(standing.failure).into()
        }
        Some(_) | None => failure.into(),
    }
}

/// The failure that stands for this commit (or for there being none) and these inputs.
fn standing_failure(
    state: &TargetState,
    commit: Option<&Commit>,
    fingerprint: &Fingerprint,
) -> Option<StandingFailure> {
    let standing = state.failing.as_ref()?;
    (standing.commit.as_ref() == commit && standing.fingerprint == *fingerprint).then(|| standing.clone())
}

/// What the register knows of it, confirmed by Daytona.
async fn find_registered(
    client: &Client,
    state: Option<&TargetState>,
    wanted: &Wanted,
) -> Result<Present, EarlyEnd> {
    let Some(state) = state else { return Ok(Present::Nothing) };
    for prebuild in state.prebuilds().filter(|prebuild| prebuild.is_of(&wanted.commit, &wanted.fingerprint)) {
        if is_usable(client, prebuild).await? {
            let promoted = state.promoted.as_ref().is_some_and(|promoted| promoted.name == prebuild.name);
            return Ok(if promoted {
                Present::Promoted(prebuild.clone())
            } else {
                Present::Kept(prebuild.clone())
            });
        }
    }
    Ok(Present::Nothing)
}

fn is_overtaken(state: Option<&TargetState>, attempt: AttemptId) -> bool {
    state.is_some_and(|state| state.is_overtaken(attempt, Utc::now()))
}

/// What Daytona has of it that the register does not know: captured, then its worker died.
async fn find_unregistered(
    client: &Client,
    name: &SandboxName,
    wanted: &Wanted,
    state: Option<&TargetState>,
) -> Result<Present, EarlyEnd> {
    let snapshots = client
        .list_snapshots(&name.prebuild_prefix())
        .await
        .map_err(|error| from_call(&error, Stage::Resolve))?;
    let newest = snapshots
        .iter()
        .filter(|snapshot| snapshot.state == SnapshotState::Active)
        .filter_map(|snapshot| snapshot.name.parse::<PrebuildName>().ok())
        .filter(|prebuild| prebuild.sandbox() == name && prebuild.holds(&wanted.commit, &wanted.fingerprint))
        // What may have been collected is not taken up.
        .filter(|prebuild| !is_overtaken(state, prebuild.attempt()))
        .max_by_key(PrebuildName::attempt);
    Ok(newest.map_or(Present::Nothing, Present::Unpromoted))
}

/// Whether sessions can start from it: there, and awake. One that Daytona has put to sleep counts as missing, for nothing wakes a
/// captured snapshot: activating it ends in `error`, for good.
async fn is_usable(client: &Client, prebuild: &PrebuildRecord) -> Result<bool, EarlyEnd> {
    let found = client.get_snapshot(&prebuild.snapshot_id).await;
    let Some(snapshot) = found.map_err(|error| from_call(&error, Stage::Resolve))? else {
        return Ok(false);
    };
    match snapshot.state {
        SnapshotState::Active => Ok(true),
        SnapshotState::Inactive => {
            tracing::info!(prebuild = %prebuild.name, "the prebuild sleeps, and nothing wakes it; it counts as missing");
            Ok(false)
        }
        SnapshotState::Building
        | SnapshotState::Pending
        | SnapshotState::Pulling
        | SnapshotState::Snapshotting
        | SnapshotState::Error
        | SnapshotState::BuildFailed
        | SnapshotState::Removing
        | SnapshotState::Other(_) => Ok(false),
    }
}
