//! Which commit is wanted, and is there a prebuild of it already? Costs one ref look-up and one snapshot look-up.

use daytona::{Client, SnapshotState};
use job::{
    Commit, Failure, FailureKind, Fingerprint, FingerprintInputs, Outcome, PrebuildName, PrebuildRecord,
    SandboxName, Stage, TargetState,
};
use remote::{Credential, HeadError, Remote};
use tokio::time::Instant;
use url::Url;

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::{from_call, from_head};

/// What the branch's head asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) commit: Commit,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) base_snapshot: String,
}

/// What is there of it.
#[derive(Debug)]
pub(crate) enum Present {
    /// The promoted prebuild is it.
    Promoted(PrebuildRecord),
    /// A prebuild that is kept from before is it.
    Kept(PrebuildRecord),
    /// Daytona has it, nobody has verified or promoted it.
    Unpromoted(PrebuildName),
    /// Nothing.
    Nothing,
}

/// Asks the git host and names the inputs.
pub(crate) async fn wanted(
    attempt: &Attempt,
    remote: &Remote,
    credential: Option<&Credential>,
    base_snapshot: String,
    state: Option<&TargetState>,
) -> Result<Wanted, EarlyEnd> {
    let settings = &attempt.job.settings;
    let fingerprint = FingerprintInputs::new(settings, &base_snapshot).fingerprint();
    attempt.note_fingerprint(&fingerprint);
    let url = Url::parse(&settings.clone.url).map_err(|error| {
        Failure::new(
            FailureKind::CloneRepositoryMissing,
            format!("clone_url is not a URL: {error}; correct fleet.toml"),
        )
    })?;
    let head = match remote.head(&url, attempt.job.target.branch(), credential).await {
        Ok(head) => head,
        Err(error) => return Err(refused(attempt, &error, &url, &fingerprint, state)),
    };
    let commit: Commit = head
        .commit
        .as_str()
        .parse()
        .map_err(|error| Failure::new(FailureKind::CloneFailed, error_chain::line(&error)))?;
    attempt.note_commit(&commit);
    if let Some(standing) = state
        .and_then(|state| still_failing(state, Some(&commit), &fingerprint))
        .filter(|_| !attempt.job.forced)
    {
        return Err(Outcome::StillFailing(standing).into());
    }
    Ok(Wanted { commit, fingerprint, base_snapshot })
}

fn refused(
    attempt: &Attempt,
    error: &HeadError,
    url: &Url,
    fingerprint: &Fingerprint,
    state: Option<&TargetState>,
) -> EarlyEnd {
    let host = url.host_str().unwrap_or("localhost");
    let failure = from_head(error, host, &attempt.job.settings.clone.token_secret);
    let standing = state.and_then(|state| still_failing(state, None, fingerprint));
    match standing {
        Some(standing) if standing.id == failure.id && !attempt.job.forced => {
            Outcome::StillFailing(standing).into()
        }
        Some(_) | None => failure.into(),
    }
}

/// The failure that stands for this commit (or for there being none) and these inputs.
fn still_failing(state: &TargetState, commit: Option<&Commit>, fingerprint: &Fingerprint) -> Option<Failure> {
    let standing = state.failing.as_ref()?;
    (standing.commit.as_ref() == commit && standing.fingerprint == *fingerprint)
        .then(|| standing.failure.clone())
}

/// What the register knows of it, confirmed by Daytona.
pub(crate) async fn registered(
    client: &Client,
    state: Option<&TargetState>,
    wanted: &Wanted,
) -> Result<Present, EarlyEnd> {
    let Some(state) = state else { return Ok(Present::Nothing) };
    for prebuild in state.prebuilds().filter(|prebuild| prebuild.is_of(&wanted.commit, &wanted.fingerprint)) {
        if usable(client, prebuild).await? {
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

/// What Daytona has of it that the register does not know: captured, then its worker died.
pub(crate) async fn unregistered(
    client: &Client,
    name: &SandboxName,
    wanted: &Wanted,
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
        .max_by_key(PrebuildName::attempt);
    Ok(newest.map_or(Present::Nothing, Present::Unpromoted))
}

/// Whether sessions can start from it: there, and awake (Daytona puts to sleep what nobody uses for two weeks).
async fn usable(client: &Client, prebuild: &PrebuildRecord) -> Result<bool, EarlyEnd> {
    let refused = |error: &daytona::Error| from_call(error, Stage::Resolve);
    let Some(snapshot) = client.get_snapshot(&prebuild.snapshot_id).await.map_err(|error| refused(&error))?
    else {
        return Ok(false);
    };
    match snapshot.state {
        SnapshotState::Active => Ok(true),
        SnapshotState::Inactive => {
            let deadline = Instant::now() + std::time::Duration::from_mins(10);
            match client.activate_and_wait(&snapshot.id, deadline).await {
                Ok(_) => Ok(true),
                Err(daytona::ActivateError::Call(error)) => Err(refused(&error)),
                Err(error) => {
                    tracing::warn!(prebuild = %prebuild.name, error = error_chain::line(&error), "promoted prebuild can't be woken; it is built anew");
                    Ok(false)
                }
            }
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
