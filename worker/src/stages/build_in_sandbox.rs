//! Everything between an empty sandbox and a captured one: checkout, detect, toolchain, install, build, scrub, capture.
//!
//! Before each stage the lease is confirmed, so that a sandbox that passed to another attempt is touched no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use daytona::{Client, Snapshot};
use job::{
    BuildMode, CapturedPrebuild, CheckoutSettings, Completeness, Failure, FailureKind, GROWN,
    MANIFEST_VERSION, Manifest, PrebuildName, Recipe, Settings, Stage, has_grown,
};

use crate::attempt::{Attempt, Interrupts};
use crate::captured_records::CapturedRecords;
use crate::early_end::EarlyEnd;
use crate::given_secrets::GivenSecrets;
use crate::job_secrets::JobSecrets;
use crate::lease::Lease;
use crate::sandbox::Sandbox;
use crate::sandbox_opener::SandboxOpener;
use crate::stages::baseline::{self, Baseline};
use crate::stages::checkout::CheckedOut;
use crate::stages::detect::Detected;
use crate::stages::disk_use::DiskUse;
use crate::stages::install::Installed;
use crate::stages::resolve::Wanted;
use crate::stages::scrub::LeftoverSection;
use crate::stages::toolchain::{Mirrors, ToolsInPlace};
use crate::stages::{build, capture, checkout, detect, install, scrub, toolchain};

/// A snapshot that nobody has verified yet.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) name: PrebuildName,
    pub(crate) snapshot: Snapshot,
    pub(crate) manifest: KnownManifest,
}

/// What is known of a captured prebuild's manifest, by the word of the worker that wrote it.
#[derive(Debug)]
pub(crate) enum KnownManifest {
    /// This attempt wrote it.
    Own(WrittenManifest),
    /// Another attempt wrote one with this SHA-256.
    Recorded { digest: String },
}

/// A manifest as it lies in the sandbox.
#[derive(Debug)]
pub(crate) struct WrittenManifest {
    pub(crate) manifest: Box<Manifest>,
    /// SHA-256 of its bytes.
    pub(crate) digest: String,
}

/// Builds in a leased sandbox and captures it.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) client: Client,
    pub(crate) opener: SandboxOpener,
    pub(crate) secrets: Arc<JobSecrets>,
    pub(crate) mirrors: Mirrors,
    pub(crate) leftovers: LeftoverSection,
    pub(crate) records: Arc<CapturedRecords>,
}

impl Builder {
    /// Brings the empty sandbox to a captured prebuild.
    pub(crate) async fn run(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        wanted: &Wanted,
        interrupts: Interrupts<'_>,
    ) -> Result<Captured, EarlyEnd> {
        let name = PrebuildName::new(
            attempt.sandbox_name(),
            &wanted.commit,
            &wanted.fingerprint,
            BuildMode::Cold,
            attempt.id,
        );
        let written = self.build(attempt, lease, wanted, &name, interrupts).await?;
        lease.confirm(Stage::Capture).await?;
        let captured = CapturedPrebuild {
            name: name.clone(),
            manifest: written.digest.clone(),
            baseline: baseline::method(),
            secrets: written.manifest.secret_names(),
        };
        self.records.record(&attempt.job.target, captured).await;
        let captured = capture::run(&self.client, lease, &name, attempt.job.settings.timeouts.capture);
        let snapshot = attempt.stage(Stage::Capture, interrupts, captured).await?;
        Ok(Captured { name, snapshot, manifest: KnownManifest::Own(written) })
    }

    /// Builds up to the written manifest.
    async fn build(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        wanted: &Wanted,
        name: &PrebuildName,
        interrupts: Interrupts<'_>,
    ) -> Result<WrittenManifest, EarlyEnd> {
        let settings = &attempt.job.settings;
        let sandbox = self.opener.open(attempt, lease, Stage::Checkout).await?;
        let environment = self.secrets.environment(&attempt.job)?;
        let given = GivenSecrets::new(self.secrets.credential(&attempt.job)?.as_ref(), &environment);
        let timeouts = &settings.timeouts;

        lease.confirm(Stage::Checkout).await?;
        let fetched = async {
            let mut disk = DiskUse::begin(&sandbox).await;
            let fetched = self.check_out(attempt, &sandbox, settings, wanted).await?;
            disk.note(&sandbox, attempt, Stage::Checkout).await;
            Ok::<_, EarlyEnd>((fetched, disk))
        };
        let (CheckedOut { path }, mut disk) = attempt.stage(Stage::Checkout, interrupts, fetched).await?;
        lease.confirm(Stage::Detect).await?;
        let detected = self.detect(attempt, &sandbox, wanted, &path);
        let Detected { recipe, checkout } = attempt.stage(Stage::Detect, interrupts, detected).await?;
        lease.confirm(Stage::Toolchain).await?;
        let tools = async {
            let tools =
                toolchain::run(&sandbox, &recipe.toolchain, &self.mirrors, timeouts.toolchain).await?;
            disk.note(&sandbox, attempt, Stage::Toolchain).await;
            // The last look at a sandbox that is the worker's own.
            Ok::<_, Failure>((tools, Baseline::take(&sandbox, &path).await?))
        };
        let (tools, baseline) = attempt.stage(Stage::Toolchain, interrupts, tools).await?;
        lease.confirm(Stage::Install).await?;
        let installed = async {
            let installed = install::run(&sandbox, &path, &recipe, &environment, timeouts.install).await?;
            disk.note(&sandbox, attempt, Stage::Install).await;
            Ok::<_, EarlyEnd>(installed)
        };
        let installed = attempt.stage(Stage::Install, interrupts, installed).await?;
        lease.confirm(Stage::Build).await?;
        let built = async {
            let built = build::run(&sandbox, &path, &recipe, &environment, timeouts.build).await?;
            disk.note(&sandbox, attempt, Stage::Build).await;
            Ok::<_, EarlyEnd>(built)
        };
        let build_failure = match attempt.stage(Stage::Build, interrupts, built).await? {
            build::Built::Complete => None,
            build::Built::Partial(failure) => Some(failure),
        };
        lease.confirm(Stage::Scrub).await?;
        let checkout = checkout.unwrap_or_else(|| settings.checkout.clone());
        let scrubbed = async {
            // From here on nothing of the repository runs in the sandbox.
            lease.restart(Stage::Scrub).await?;
            let scrubbed = scrub::run(&sandbox, &path, &baseline, self.leftovers, given.as_slice()).await;
            if scrubbed.as_ref().is_err_and(|failure| failure.id == FailureKind::ScrubSecretFound) {
                attempt.note_secrets(given.check());
            }
            let left = scrubbed?;
            disk.note(&sandbox, attempt, Stage::Scrub).await;
            let added = disk.added();
            let (baseline, home) = (baseline.digests(), baseline.home());
            let facts = BuildFacts {
                path,
                recipe,
                checkout,
                tools,
                baseline,
                home,
                installed,
                build_failure,
                added,
                left,
            };
            let manifest = Box::new(facts.into_manifest(attempt, wanted, name));
            let digest = scrub::write_manifest(&sandbox, &manifest).await?;
            lease.prepare_for_capture(Stage::Scrub, timeouts.capture).await?;
            Ok::<_, EarlyEnd>(WrittenManifest { manifest, digest })
        };
        attempt.stage(Stage::Scrub, interrupts, scrubbed).await
    }

    async fn check_out(
        &self,
        attempt: &Attempt,
        sandbox: &Sandbox,
        settings: &Settings,
        wanted: &Wanted,
    ) -> Result<CheckedOut, EarlyEnd> {
        let credential = self.secrets.credential(&attempt.job)?;
        checkout::run(sandbox, &attempt.job.target, settings, &wanted.commit, credential.as_ref()).await
    }

    /// What the files ask for; checks out again when the repository's own file asks for more (LFS, submodules, another filter).
    async fn detect(
        &self,
        attempt: &Attempt,
        sandbox: &Sandbox,
        wanted: &Wanted,
        path: &str,
    ) -> Result<Detected, EarlyEnd> {
        let settings = &attempt.job.settings;
        let detected = detect::run(sandbox, path, settings, &self.mirrors).await?;
        if let Some(checkout) = &detected.checkout {
            let settings = Settings { checkout: checkout.clone(), ..settings.clone() };
            self.check_out(attempt, sandbox, &settings, wanted).await?;
        }
        Ok(detected)
    }
}

/// What the stages found out for the manifest.
struct BuildFacts {
    path: String,
    recipe: Recipe,
    checkout: CheckoutSettings,
    tools: ToolsInPlace,
    baseline: job::Baseline,
    home: BTreeMap<String, String>,
    installed: Installed,
    build_failure: Option<Failure>,
    added: Option<i64>,
    left: Vec<String>,
}

impl BuildFacts {
    fn into_manifest(self, attempt: &Attempt, wanted: &Wanted, name: &PrebuildName) -> Manifest {
        let settings = attempt.job.settings.clone();
        let mut flags = self.installed.flags;
        if has_grown(self.added, wanted.predecessor_bytes) {
            flags.push(GROWN.to_owned());
        }
        Manifest {
            version: MANIFEST_VERSION,
            fleet: attempt.job.fleet.clone(),
            target: attempt.job.target.clone(),
            path: self.path,
            commit: wanted.commit.clone(),
            clone: Some(settings.clone),
            checkout: Some(self.checkout),
            env: settings.env,
            secrets: Some(settings.secrets),
            home: self.home,
            fingerprint: wanted.fingerprint.clone(),
            prebuild: name.clone(),
            mode: BuildMode::Cold,
            job: attempt.job.id,
            attempt: attempt.id,
            completeness: if self.build_failure.is_some() {
                Completeness::Partial
            } else {
                Completeness::Complete
            },
            build_failure: self.build_failure,
            left: self.left,
            flags,
            recipe: self.recipe,
            tools: self.tools.tools,
            baseline: Some(self.baseline),
            lockfiles: self.installed.lockfiles,
            stages: attempt.facts().stages,
            added_bytes: self.added,
            started_at: attempt.started_at,
            finished_at: Utc::now(),
        }
    }
}
