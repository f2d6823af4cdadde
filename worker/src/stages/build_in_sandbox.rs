//! Everything between an empty sandbox and one that can be captured: checkout, detect, toolchain, install, build, scrub.

use std::collections::BTreeMap;

use chrono::Utc;
use job::{
    BuildMode, Completeness, Failure, FailureKind, MANIFEST_VERSION, Manifest, PrebuildName, Recipe,
    Settings, Stage,
};

use crate::attempt::{Attempt, Interrupts};
use crate::early_end::EarlyEnd;
use crate::failures::from_call;
use crate::lease::Lease;
use crate::parts::Parts;
use crate::sandbox::{Environment, Sandbox};
use crate::stages::checkout::CheckedOut;
use crate::stages::resolve::Wanted;
use crate::stages::{build, checkout, detect, install, scrub, toolchain};

/// Builds in the leased sandbox, up to the written manifest.
pub(crate) async fn run(
    parts: &Parts,
    attempt: &Attempt,
    lease: &Lease,
    wanted: &Wanted,
    name: &PrebuildName,
    interrupts: Interrupts<'_>,
) -> Result<(), EarlyEnd> {
    let toolbox = parts
        .leases
        .client
        .toolbox(lease.sandbox())
        .await
        .map_err(|error| from_call(&error, Stage::Checkout))?;
    let sandbox = parts.open(attempt, toolbox);
    let settings = &attempt.job.settings;
    let environment = environment(parts, settings)?;
    let timeouts = &settings.timeouts;

    let fetched = fetch(parts, attempt, &sandbox, settings, wanted);
    let CheckedOut { path } = attempt.stage(Stage::Checkout, interrupts, fetched).await?;
    lease.confirm(Stage::Detect).await?;
    let detected = detected(parts, attempt, &sandbox, settings, wanted, &path);
    let recipe = attempt.stage(Stage::Detect, interrupts, detected).await?;
    lease.confirm(Stage::Toolchain).await?;
    let tools = toolchain::run(&sandbox, &recipe.toolchain, &parts.mirrors, timeouts.toolchain);
    let tools = attempt.stage(Stage::Toolchain, interrupts, tools).await?;
    lease.confirm(Stage::Install).await?;
    let installed = install::run(&sandbox, &path, &recipe, &environment, timeouts.install);
    let installed = attempt.stage(Stage::Install, interrupts, installed).await?;
    lease.confirm(Stage::Build).await?;
    let built = build::run(&sandbox, &path, &recipe, &environment, timeouts.build);
    let built = attempt.stage(Stage::Build, interrupts, built).await?;
    lease.confirm(Stage::Scrub).await?;

    let build_failure = match built {
        build::Built::Complete => None,
        build::Built::Partial(failure) => Some(failure),
    };
    let scrubbed = async {
        scrub::run(&sandbox).await?;
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            fleet: attempt.job.fleet.clone(),
            target: attempt.job.target.clone(),
            path,
            commit: wanted.commit.clone(),
            fingerprint: wanted.fingerprint.clone(),
            prebuild: name.clone(),
            mode: BuildMode::Cold,
            job: attempt.job.id,
            attempt: attempt.id,
            completeness: if build_failure.is_some() {
                Completeness::Partial
            } else {
                Completeness::Complete
            },
            build_failure,
            flags: installed.flags,
            recipe,
            tools: tools.tools,
            lockfiles: installed.lockfiles,
            stages: attempt.found().stages,
            started_at: attempt.started_at,
            finished_at: Utc::now(),
        };
        scrub::write_manifest(&sandbox, &manifest).await
    };
    attempt.stage(Stage::Scrub, interrupts, scrubbed).await
}

async fn fetch(
    parts: &Parts,
    attempt: &Attempt,
    sandbox: &Sandbox,
    settings: &Settings,
    wanted: &Wanted,
) -> Result<CheckedOut, EarlyEnd> {
    let credential = parts.credential_of(attempt);
    checkout::run(sandbox, &attempt.job.target, settings, &wanted.commit, credential.as_ref()).await
}

/// The recipe; checks out again when the repository's own file asks for more (LFS, submodules, another filter).
async fn detected(
    parts: &Parts,
    attempt: &Attempt,
    sandbox: &Sandbox,
    settings: &Settings,
    wanted: &Wanted,
    path: &str,
) -> Result<Recipe, EarlyEnd> {
    let detected = detect::run(sandbox, path, settings, &parts.mirrors).await?;
    if let Some(checkout) = detected.checkout {
        let settings = Settings { checkout, ..settings.clone() };
        fetch(parts, attempt, sandbox, &settings, wanted).await?;
    }
    Ok(detected.recipe)
}

/// What install, build and verify are given: the plain environment, and the secrets that settings name.
pub(crate) fn environment(parts: &Parts, settings: &Settings) -> Result<Environment, Failure> {
    let mut secrets = BTreeMap::new();
    for name in &settings.secrets {
        let value = parts.secrets.get(name).map_err(|refusal| {
            Failure::new(
                FailureKind::SecretUnavailable,
                format!("secret {name} of fleet.toml cannot be given to the build: {refusal}"),
            )
        })?;
        secrets.insert(name.clone(), value);
    }
    Ok(Environment::of(settings.env.clone(), secrets))
}
