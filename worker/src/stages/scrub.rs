//! Nothing of the attempt stays in the prebuild but what sessions need, and no known secret in any form.
//!
//! It begins in a sandbox that was started anew, so that nothing of the repository runs in it. The search is the last thing
//! before the manifest.

mod search;

use job::{Failure, FailureKind, MANIFEST_PATH, Manifest, Stage};
use secrecy::SecretString;

use crate::sandbox::{Environment, SHORT, Sandbox};

const CLEAN: &str = include_str!("scrub/clean.sh");

/// Removes what the attempt left, then searches for the secrets that it was given.
pub async fn run(sandbox: &Sandbox, given: &[SecretString]) -> Result<(), Failure> {
    clean(sandbox).await?;
    if search::run(sandbox, given).await? == search::Searched::Everything {
        // The search's own run folder.
        clean(sandbox).await?;
    }
    Ok(())
}

/// Writes the manifest, without any secret that a message in it might quote.
pub async fn write_manifest(sandbox: &Sandbox, manifest: &Manifest) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(manifest).map_err(|error| {
        Failure::new(FailureKind::Internal, format!("a manifest cannot be written: {error}")).at(Stage::Scrub)
    })?;
    sandbox.upload(Stage::Scrub, MANIFEST_PATH, sandbox.redactor().scrub(&json).into_bytes()).await
}

async fn clean(sandbox: &Sandbox) -> Result<(), Failure> {
    let executed = sandbox.short(Stage::Scrub, CLEAN, &Environment::new(), SHORT).await?;
    if executed.exit_code == 0 {
        return Ok(());
    }
    let text = format!("what the attempt left could not be removed: {}", executed.result.trim());
    Err(Failure::new(FailureKind::ScrubFailed, text)
        .with_output(Some(executed.exit_code), job::Tail::of(&executed.result)))
}
