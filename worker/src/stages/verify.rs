//! A sandbox from the new snapshot holds what its manifest says, and how fast it starts. Only then is it promoted.

use std::time::Duration;

use daytona::{Client, NewSandbox, Snapshot};
use job::{
    Blame, CommandStep, Failure, FailureKind, MANIFEST_PATH, Manifest, Outcome, PrebuildName, Stage,
    Toolchain,
};

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::failures::from_call;
use crate::lease::{Labels, Lease, Leases};
use crate::parts::Parts;
use crate::sandbox::{ANY_ROOM, Environment, FinishedCommand, LongCommand, Sandbox};
use crate::stages::build_in_sandbox;
use crate::stages::resolve::Wanted;

const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
const LOOK: Duration = Duration::from_secs(50);

/// One line per fact, from a plain shell and from a login shell; nothing of it is interpolated.
const FACTS: &str = r#"
cd "$CHECKOUT" || exit 3
printf 'commit=%s\n' "$(git rev-parse HEAD)"
printf 'branch=%s\n' "$(git symbolic-ref --short HEAD)"
printf 'remote=%s\n' "$(git config --get remote.origin.url)"
printf 'plain=%s\n' "$(node --version 2>/dev/null)"
printf 'login=%s\n' "$(bash -lc 'node --version' 2>/dev/null </dev/null)"
"#;

/// Starts a sandbox from the snapshot under the target's own name, and says how long that took.
pub(crate) async fn start(
    leases: &Leases,
    wish: &NewSandbox,
    labels: &Labels,
) -> Result<(Lease, Duration), EarlyEnd> {
    leases.start_measured(wish, labels).await.map_err(not_started)
}

/// What keeps a sandbox from starting here is wrong with the new snapshot, not with the base.
fn not_started(end: EarlyEnd) -> EarlyEnd {
    match end.failure() {
        Some(failure)
            if matches!(failure.id, FailureKind::ProvisionFailed | FailureKind::ProvisionBaseMissing) =>
        {
            Failure { id: FailureKind::VerifyStart, stage: Stage::Verify, ..failure.clone() }.into()
        }
        Some(_) | None => end,
    }
}

/// Whether an attempt of this job that did not make the prebuild could not start from it either: it is built anew then.
pub(crate) fn is_given_up(attempt: &Attempt, name: &PrebuildName) -> bool {
    attempt
        .envelope
        .history
        .iter()
        .any(|note| note.failure == Some(FailureKind::VerifyStart) && note.attempt != name.attempt())
}

/// Reads the prebuild's own manifest and holds it against what is there.
pub(crate) async fn run(
    parts: &Parts,
    attempt: &Attempt,
    lease: &Lease,
    wanted: &Wanted,
    name: &PrebuildName,
) -> Result<Manifest, EarlyEnd> {
    let client = &parts.leases.client;
    let toolbox = client.toolbox(lease.sandbox()).await.map_err(|error| from_call(&error, Stage::Verify))?;
    let bytes = toolbox
        .download(MANIFEST_PATH, MANIFEST_LIMIT)
        .await
        .map_err(|error| from_call(&error, Stage::Verify))?
        .ok_or_else(|| mismatch(&format!("{MANIFEST_PATH} is missing")))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        mismatch(&format!("{MANIFEST_PATH} cannot be read: {}", error_chain::line(&error)))
    })?;
    if manifest.commit != wanted.commit
        || manifest.fingerprint != wanted.fingerprint
        || manifest.prebuild != *name
    {
        return Err(mismatch("the manifest is of another build").into());
    }
    let sandbox = parts.open(attempt, toolbox);
    compare(&sandbox, attempt, &manifest).await?;
    if let CommandStep::Run { command, .. } = &manifest.recipe.verify {
        verify_command(parts, &sandbox, attempt, &manifest, command).await?;
    }
    Ok(manifest)
}

async fn compare(sandbox: &Sandbox, attempt: &Attempt, manifest: &Manifest) -> Result<(), EarlyEnd> {
    let envs = Environment::from([("CHECKOUT".to_owned(), manifest.path.clone())]);
    let facts = sandbox.short(Stage::Verify, FACTS, &envs, LOOK).await?;
    let says = |fact: &str| {
        facts.result.lines().find_map(|line| line.strip_prefix(fact)?.strip_prefix('=')).unwrap_or_default()
    };
    let expect = |fact: &str, expected: &str| {
        let found = says(fact);
        if found == expected {
            Ok(())
        } else {
            Err(mismatch(&format!("{fact} is `{found}`, not `{expected}`")))
        }
    };
    expect("commit", manifest.commit.as_str())?;
    expect("branch", attempt.job.target.branch())?;
    expect("remote", &attempt.job.settings.clone.url)?;
    if let Toolchain::Node { node, .. } = &manifest.recipe.toolchain {
        expect("plain", &format!("v{node}"))?;
        expect("login", &format!("v{node}"))?;
    }
    Ok(())
}

async fn verify_command(
    parts: &Parts,
    sandbox: &Sandbox,
    attempt: &Attempt,
    manifest: &Manifest,
    command: &str,
) -> Result<(), EarlyEnd> {
    let settings = &attempt.job.settings;
    let deadline = settings.timeouts.verify;
    let command = LongCommand {
        stage: Stage::Verify,
        label: "verify",
        script: command.to_owned(),
        cwd: manifest.path.clone(),
        environment: build_in_sandbox::environment(parts, settings)?,
        deadline,
    };
    let end = sandbox.run(&command).await?;
    let FinishedCommand { code, tail } = end.into_finished(&command, ANY_ROOM)?;
    if code == 0 {
        return Ok(());
    }
    let message = format!("the verify command exited with {code}");
    Err(Failure::new(FailureKind::VerifyCommandFailed, message).with_output(Some(code), tail).into())
}

fn mismatch(what: &str) -> Failure {
    Failure::new(FailureKind::VerifyMismatch, format!("the new prebuild is not what it should be: {what}"))
}

/// Whether this end says that the snapshot itself is bad, so that nobody should take it up again.
pub(crate) fn condemns(end: &EarlyEnd) -> bool {
    let EarlyEnd::Outcome(outcome) = end else { return false };
    match &**outcome {
        Outcome::Failed(failure) => {
            failure.stage == Stage::Verify
                && matches!(failure.blame(), Blame::Ours | Blame::Repository | Blame::Resources)
        }
        Outcome::Built(_)
        | Outcome::Partial { .. }
        | Outcome::Unchanged(_)
        | Outcome::OverQuota
        | Outcome::StillFailing(_)
        | Outcome::Superseded
        | Outcome::Busy { .. }
        | Outcome::Cancelled
        | Outcome::Paused
        | Outcome::Interrupted
        | Outcome::LeaseLost => false,
    }
}

/// Deletes a snapshot that failed its verification. Ours by construction: this attempt named it or found it by its name.
pub(crate) async fn discard(client: &Client, snapshot: &Snapshot) {
    match client.delete_snapshot(&snapshot.id).await {
        Ok(_) => tracing::info!(prebuild = snapshot.name, "prebuild that failed its verification deleted"),
        Err(error) => tracing::warn!(
            prebuild = snapshot.name,
            error = error_chain::line(&error),
            "bad prebuild not deleted; the next promotion collects it"
        ),
    }
}
