//! A sandbox from the new snapshot holds what its manifest says, and how fast it starts. Only then is it promoted.

use std::sync::Arc;
use std::time::Duration;

use daytona::Snapshot;
use job::{
    Blame, CommandStep, Failure, FailureKind, MANIFEST_PATH, Manifest, Outcome, PrebuildName, Stage,
    Toolchain,
};
use sha2::{Digest, Sha256};

use crate::attempt::Attempt;
use crate::early_end::EarlyEnd;
use crate::job_secrets::JobSecrets;
use crate::lease::{Lease, Leases, Place};
use crate::metrics::Instruments;
use crate::sandbox::{ANY_ROOM, Environment, FinishedCommand, LongCommand, SHORT, Sandbox};
use crate::sandbox_opener::SandboxOpener;
use crate::stages::baseline;
use crate::stages::build_in_sandbox::{Captured, KnownManifest, WrittenManifest};
use crate::stages::resolve::Wanted;

/// Bytes of another attempt's manifest that are read at most.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// How long asking for the facts may take.
const FACTS_TIMEOUT: Duration = Duration::from_secs(50);

/// The SHA-256 of the manifest, which is a file and no link to one.
const MANIFEST_SUM: &str = r#"
file=/workspace/.harvest/manifest.json
[ -f "$file" ] && [ ! -L "$file" ] && sha256sum <"$file" | cut -c 1-64
"#;

/// One line per fact, from root's git, a plain shell and a login shell; nothing of it is interpolated.
const FACTS: &str = r#"
cd "$CHECKOUT" || exit 3
git rev-parse --quiet --verify 'HEAD^{tree}' >/dev/null && printf 'commit=%s\n' "$(git rev-parse HEAD)"
printf 'branch=%s\n' "$(git symbolic-ref --short HEAD)"
printf 'remote=%s\n' "$(git config --get remote.origin.url)"
PATH=$HARVEST_IMAGE_PATH
printf 'plain=%s\n' "$(node --version 2>/dev/null)"
printf 'login=%s\n' "$(bash -lc 'node --version' 2>/dev/null </dev/null)"
"#;

/// Starts a sandbox from a new snapshot, and holds what is in it against its manifest.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) leases: Leases,
    pub(crate) opener: SandboxOpener,
    pub(crate) secrets: Arc<JobSecrets>,
    pub(crate) metrics: Instruments,
}

impl Verifier {
    /// Starts a sandbox from the snapshot in the place of the build's, and says how long that took.
    pub(crate) async fn start(
        &self,
        attempt: &Attempt,
        snapshot: &Snapshot,
        place: Place,
    ) -> Result<(Lease, Duration), EarlyEnd> {
        let started = self.leases.start_measured(attempt, snapshot.id.as_str(), place).await;
        let (lease, cold_start) = started.map_err(as_verify_start)?;
        self.metrics.record_cold_start(cold_start);
        Ok((lease, cold_start))
    }

    /// Holds what was captured against what is known of it, before anything of the repository has run in this sandbox. The
    /// verify command runs last, and nothing is read after it but how it ended.
    pub(crate) async fn run(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        wanted: &Wanted,
        captured: &Captured,
    ) -> Result<Manifest, EarlyEnd> {
        let sandbox = self.opener.open(attempt, lease, Stage::Verify).await?;
        let manifest = known_manifest(&sandbox, &captured.manifest).await?;
        if manifest.commit != wanted.commit
            || manifest.fingerprint != wanted.fingerprint
            || manifest.prebuild != captured.name
        {
            return Err(mismatch("the manifest is of another build").into());
        }
        let Some(baseline) = &manifest.baseline else {
            return Err(mismatch("the manifest says nothing of what was there before install").into());
        };
        if let Some(difference) = baseline::find_difference(&sandbox, &manifest.path, baseline).await? {
            return Err(mismatch(&difference).into());
        }
        compare(&sandbox, attempt, &manifest).await?;
        if let CommandStep::Run { command, .. } = &manifest.recipe.verify {
            let environment = self.secrets.environment(&attempt.job)?;
            let deadline = attempt.job.settings.timeouts.verify;
            run_verify_command(&sandbox, &manifest, command, environment, deadline).await?;
        }
        Ok(manifest)
    }

    /// Deletes a snapshot that failed its verification, or was withdrawn. Ours by construction: this attempt named it or found it by its name.
    pub(crate) async fn discard(&self, snapshot: &Snapshot) {
        match self.leases.client.delete_snapshot(&snapshot.id).await {
            Ok(_) => {
                tracing::info!(prebuild = snapshot.name, "prebuild that cannot be promoted deleted");
            }
            Err(error) => tracing::warn!(
                prebuild = snapshot.name,
                error = error_chain::line(&error),
                "bad prebuild not deleted; the keeper collects it"
            ),
        }
    }
}

/// What keeps a sandbox from starting here is wrong with the new snapshot, not with the base.
fn as_verify_start(end: EarlyEnd) -> EarlyEnd {
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

/// The manifest by the word of whoever wrote it; the prebuild must carry the same, byte for byte.
async fn known_manifest(sandbox: &Sandbox, known: &KnownManifest) -> Result<Manifest, EarlyEnd> {
    let digest = match known {
        KnownManifest::Own(WrittenManifest { digest, .. }) | KnownManifest::Recorded { digest } => digest,
    };
    let sum = sandbox.short(Stage::Verify, MANIFEST_SUM, &Environment::new(), SHORT).await?;
    if sum.result.trim() != digest {
        return Err(mismatch(&format!("{MANIFEST_PATH} is not what was written")).into());
    }
    if let KnownManifest::Own(written) = known {
        return Ok(Manifest::clone(&written.manifest));
    }
    let bytes = sandbox.download(Stage::Verify, MANIFEST_PATH, MANIFEST_LIMIT).await?.unwrap_or_default();
    if hex::encode(Sha256::digest(&bytes)) != *digest {
        return Err(mismatch(&format!("{MANIFEST_PATH} is not what was written")).into());
    }
    Ok(serde_json::from_slice(&bytes).map_err(|error| {
        mismatch(&format!("{MANIFEST_PATH} cannot be read: {}", error_chain::line(&error)))
    })?)
}

async fn compare(sandbox: &Sandbox, attempt: &Attempt, manifest: &Manifest) -> Result<(), EarlyEnd> {
    let envs = Environment::from([("CHECKOUT".to_owned(), manifest.path.clone())]);
    let facts = sandbox.short(Stage::Verify, FACTS, &envs, FACTS_TIMEOUT).await?;
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

async fn run_verify_command(
    sandbox: &Sandbox,
    manifest: &Manifest,
    command: &str,
    environment: Environment,
    deadline: Duration,
) -> Result<(), Failure> {
    let command = LongCommand {
        stage: Stage::Verify,
        label: "verify",
        script: command.to_owned(),
        cwd: manifest.path.clone(),
        environment,
        deadline,
    };
    let end = sandbox.run(&command).await?;
    let FinishedCommand { code, tail } = end.into_finished(&command, ANY_ROOM)?;
    if code == 0 {
        return Ok(());
    }
    let message = format!("the verify command exited with {code}");
    Err(Failure::new(FailureKind::VerifyCommandFailed, message).with_output(Some(code), tail))
}

fn mismatch(what: &str) -> Failure {
    Failure::new(FailureKind::VerifyMismatch, format!("the new prebuild is not what it should be: {what}"))
}

/// Whether this end says that the snapshot itself is bad, so that nobody should take it up again.
pub(crate) fn condemns(end: &EarlyEnd) -> bool {
    let EarlyEnd::Outcome(outcome) = end else { return false };
    match &**outcome {
        Outcome::Failed(failure) => {
            failure.id == FailureKind::PromoteRevoked
                || (failure.stage == Stage::Verify
                    && matches!(failure.blame(), Blame::Ours | Blame::Repository | Blame::Resources))
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
