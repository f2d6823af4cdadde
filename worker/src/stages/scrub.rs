//! Nothing of the attempt stays in the prebuild but what sessions need, and no known secret in any form.
//!
//! The search is the last thing before the manifest. What it looks for travels in the environment of one command: it is in no
//! argument, in no file, and a hit names the file, never what was found.

use std::time::Duration;

use job::{Failure, FailureKind, MANIFEST_PATH, Manifest, Stage};

use crate::sandbox::{Environment, Exit, LongCommand, SHORT, Sandbox};

const CLEAN: &str = include_str!("scrub/clean.sh");
const SEARCH: &str = include_str!("scrub/search.sh");
/// How long the search may take, which reads every file once.
const SEARCH_DEADLINE: Duration = Duration::from_mins(15);
/// The search's exit code when it found a secret.
const FOUND: i32 = 70;

/// Removes what the attempt left, then searches for every known secret.
pub async fn run(sandbox: &Sandbox) -> Result<(), Failure> {
    clean(sandbox).await?;
    if !sandbox.redactor().is_empty() {
        search(sandbox).await?;
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

async fn search(sandbox: &Sandbox) -> Result<(), Failure> {
    let command = LongCommand {
        stage: Stage::Scrub,
        label: "search",
        script: SEARCH.to_owned(),
        cwd: "/".to_owned(),
        environment: Environment::new().with_secret("HARVEST_PATTERNS", sandbox.redactor().patterns()),
        deadline: SEARCH_DEADLINE,
    };
    let end = sandbox.run(&command).await?;
    match end.exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(FOUND) => {
            let files: Vec<&str> =
                end.tail.as_str().lines().filter(|line| !line.trim().is_empty()).take(5).collect();
            let text = format!("a known secret is in {}; nothing was captured", files.join(", "));
            Err(Failure::new(FailureKind::ScrubSecretFound, text).with_output(Some(FOUND), end.tail))
        }
        Exit::Code(code) | Exit::OutOfMemory(code) => {
            let failure = Failure::new(FailureKind::ScrubFailed, "the search for secrets did not work");
            Err(failure.with_output(Some(code), end.tail))
        }
        Exit::DeadlinePassed => {
            let text = format!("the search for secrets took longer than {} s", SEARCH_DEADLINE.as_secs());
            Err(Failure::new(FailureKind::ScrubFailed, text).with_output(None, end.tail))
        }
    }
}
