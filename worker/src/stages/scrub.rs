//! Nothing of the attempt stays in the prebuild but what sessions need, and no known secret in any form.
//!
//! It begins in a sandbox that was started anew, so that nothing of the repository runs in it. The search is the last thing
//! before the manifest.

mod leftovers;
mod search;

use job::{Failure, FailureKind, MANIFEST_PATH, Manifest, Stage};
pub use leftovers::{Leave, LeftoverSection};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::sandbox::{Environment, SHORT, Sandbox};
use crate::stages::baseline::Baseline;

const PREPARE: &str = include_str!("scrub/prepare.sh");
const CLEAN: &str = include_str!("scrub/clean.sh");

/// The most paths that are named of what stays.
const MOST_PATHS: usize = 20;

/// Puts back what was there before the attempt's install, in the checkout at `path` and in the home; removes what the attempt
/// left; then searches for the secrets that it was given. Answers with what stays because it is the base's, another user's.
pub async fn run(
    sandbox: &Sandbox,
    path: &str,
    baseline: &Baseline,
    leftovers: LeftoverSection,
    given: &[SecretString],
) -> Result<Vec<String>, Failure> {
    step(sandbox, PREPARE).await?;
    baseline.put_back(sandbox, path).await?;
    let mut said = step(sandbox, CLEAN).await?;
    leftovers::remove(sandbox, path, leftovers).await;
    if search::run(sandbox, given).await? == search::Searched::Everything {
        // The search's own run folder.
        said = step(sandbox, CLEAN).await?;
    }
    let left: Vec<String> = read_left(&said);
    if !left.is_empty() {
        tracing::info!(
            paths = left.join(" "),
            "left as the base has it: another user's, which the attempt may not clear"
        );
    }
    Ok(left)
}

/// The paths that `clean.sh` says it had to leave.
fn read_left(said: &str) -> Vec<String> {
    said.lines().filter_map(|line| line.strip_prefix("left ")).take(MOST_PATHS).map(str::to_owned).collect()
}

/// Writes the manifest, without any secret that a message in it might quote. Answers with the SHA-256 of what was written.
pub async fn write_manifest(sandbox: &Sandbox, manifest: &Manifest) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(manifest).map_err(|error| {
        Failure::new(FailureKind::Internal, format!("a manifest cannot be written: {error}")).at(Stage::Scrub)
    })?;
    let written = sandbox.redactor().scrub(&json).into_bytes();
    let digest = hex::encode(Sha256::digest(&written));
    sandbox.upload(Stage::Scrub, MANIFEST_PATH, written).await?;
    Ok(digest)
}

async fn step(sandbox: &Sandbox, script: &'static str) -> Result<String, Failure> {
    let executed = sandbox.short(Stage::Scrub, script, &Environment::new(), SHORT).await?;
    if executed.exit_code == 0 {
        return Ok(executed.result);
    }
    let text = format!("what the attempt left could not be removed: {}", executed.result.trim());
    Err(Failure::new(FailureKind::ScrubFailed, text)
        .with_output(Some(executed.exit_code), job::Tail::of(&executed.result)))
}
