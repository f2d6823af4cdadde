//! Node projects from checkout to build, with real npm and pnpm.

use std::time::Duration;

use fleet_tests::fixtures::Sample;
use fleet_tests::npm_registry::NpmRegistry;
use job::{CommandStep, FailureKind, Recipe, Skipped, Toolchain};
use worker::sandbox::{Environment, Sandbox};
use worker::stages::build::{self, Built};
use worker::stages::install::{self, DEGRADED_LOCKFILE, DEGRADED_NO_LOCKFILE, Installed};
use worker::stages::toolchain::{self, Mirrors, ToolsInPlace};
use worker::stages::{checkout, detect};

use super::bench::{Bench, NAME, PATH, commit, target};

const LONG: Duration = Duration::from_mins(10);

/// A recipe that builds with this command and does nothing else.
pub(super) fn recipe_building(command: &str) -> Recipe {
    Recipe {
        toolchain: Toolchain::None,
        install: CommandStep::Skip(Skipped::NothingToRun),
        build: CommandStep::Run { command: command.to_owned(), from: "settings".to_owned(), fallback: None },
        verify: CommandStep::Skip(Skipped::NothingToRun),
        sources: Vec::new(),
        conflicts: Vec::new(),
    }
}

struct Prepared {
    bench: Bench,
    sandbox: Sandbox,
    recipe: Recipe,
    tools: ToolsInPlace,
}

/// Checked out, detected, and with its toolchain.
async fn prepared(sample: Sample) -> Prepared {
    prepared_on(Bench::start().await, sample).await
}

async fn prepared_on(bench: Bench, sample: Sample) -> Prepared {
    let wanted = bench.git.create_repo(NAME, sample).await.unwrap();
    let (sandbox, settings) = (bench.sandbox(), bench.settings());
    checkout::run(&sandbox, &target("main"), &settings, &commit(&wanted), None).await.unwrap();
    let detected = detect::run(&sandbox, PATH, &settings, &Mirrors::default()).await.unwrap();
    let tools =
        toolchain::run(&sandbox, &detected.recipe.toolchain, &Mirrors::default(), LONG).await.unwrap();
    Prepared { bench, sandbox, recipe: detected.recipe, tools }
}

impl Prepared {
    async fn install(&self) -> Result<Installed, job::Failure> {
        install::run(&self.sandbox, PATH, &self.recipe, &Environment::new(), LONG).await
    }

    async fn build(&self) -> Result<Built, job::Failure> {
        build::run(&self.sandbox, PATH, &self.recipe, &Environment::new(), LONG).await
    }
}

#[tokio::test]
async fn a_pinned_node_is_what_builds_and_what_sessions_get() {
    let project = prepared(Sample::PinnedNode).await;
    assert_eq!(project.tools.tools["node"].version, "18.20.8");
    assert_eq!(project.tools.tools["node"].path, "/home/harvest/.harvest/bin/node");
    let installed = project.install().await.unwrap();
    assert_eq!(installed.flags, Vec::<String>::new());
    assert_eq!(installed.lockfiles.len(), 1);
    assert_eq!(project.build().await.unwrap(), Built::Complete);
    let facts = "cat /workspace/name/dist/node-version.txt; echo; bash -lc 'node --version' </dev/null; cd /workspace/name; git status --porcelain";
    assert_eq!(project.bench.prints(facts).await.replace("\n\n", "\n"), "v18.20.8\nv18.20.8");
    project.bench.end().await;
}

#[tokio::test]
async fn a_pnpm_workspace_gets_its_own_pnpm() {
    let project = prepared(Sample::PnpmWorkspace).await;
    assert_eq!(project.tools.tools["pnpm"].version, "9.15.4");
    let installed = project.install().await.unwrap();
    assert_eq!((installed.flags.len(), installed.lockfiles[0].path.as_str()), (0, "pnpm-lock.yaml"));
    assert_eq!(project.build().await.unwrap(), Built::Complete);
    project.bench.end().await;
}

#[tokio::test]
async fn an_npm_service_builds() {
    let project = prepared_on(Bench::without_image_tools().await, Sample::NpmService).await;
    project.install().await.unwrap();
    assert_eq!(project.build().await.unwrap(), Built::Complete);
    assert!(project.bench.prints("ls /workspace/name/dist").await.contains("server.js"));
    project.bench.end().await;
}

#[tokio::test]
async fn a_lockfile_out_of_step_is_worked_around_and_left_as_it_was() {
    let project = prepared(Sample::OutOfSyncLockfile).await;
    let installed = project.install().await.unwrap();
    assert_eq!(installed.flags, [DEGRADED_LOCKFILE]);
    assert_eq!(
        project
            .bench
            .prints("cd /workspace/name; git status --porcelain; ls node_modules | grep picocolors")
            .await,
        "picocolors"
    );
    project.bench.end().await;
}

#[tokio::test]
async fn a_project_without_a_lockfile_is_flagged_and_gets_none() {
    let project = prepared(Sample::NoLockfile).await;
    assert_eq!(project.install().await.unwrap().flags, [DEGRADED_NO_LOCKFILE]);
    assert_eq!(project.bench.prints("cd /workspace/name; git status --porcelain").await, "");
    project.bench.end().await;
}

#[tokio::test]
async fn a_version_that_does_not_exist_is_the_repositorys_fault() {
    let project = prepared(Sample::BrokenLockfile).await;
    let failure = project.install().await.unwrap_err();
    assert_eq!(failure.id, FailureKind::InstallPackageMissing, "{failure:?}");
    assert!(failure.message.contains("left-pad"), "{failure}");
    assert!(!failure.log_tail.is_empty());
    project.bench.end().await;
}

#[tokio::test]
async fn a_build_that_fails_leaves_a_partial_prebuild() {
    let project = prepared(Sample::BrokenBuild).await;
    project.install().await.unwrap();
    let built = project.build().await.unwrap();
    let Built::Partial(failure) = built else { panic!("{built:?}") };
    assert_eq!(failure.id, FailureKind::BuildFailed, "{failure}");
    project.bench.end().await;
}

#[tokio::test]
async fn toolchains_that_cannot_be_had_say_why() {
    let bench = Bench::start().await;
    let asked = |node: &str, pnpm: &str, hash: Option<&str>| Toolchain::Node {
        node: node.to_owned(),
        package_manager: job::PackageManager {
            kind: job::PackageManagerKind::Pnpm,
            version: Some(pnpm.to_owned()),
            integrity: hash.map(str::to_owned),
        },
    };
    let sandbox = bench.sandbox();
    let here = bench.prints("node --version").await.trim_start_matches('v').to_owned();
    let none = toolchain::run(&sandbox, &asked("98.76.54", "9.15.4", None), &Mirrors::default(), LONG)
        .await
        .unwrap_err();
    assert_eq!(none.id, FailureKind::ToolchainVersionUnknown, "{none:?}");
    let nowhere = Mirrors { npm_registry: Some("http://127.0.0.1:9/".parse().unwrap()) };
    let down = toolchain::run(&sandbox, &asked("18.20.7", "9.15.4", None), &nowhere, LONG).await.unwrap_err();
    assert_eq!(
        (down.id, &down.scope),
        (FailureKind::ToolchainUnavailable, &job::Scope::Registry),
        "{down:?}"
    );
    assert!(down.message.contains("toolchain.npm_registry"), "{down}");
    let other =
        toolchain::run(&sandbox, &asked(&here, "9.15.4", Some("sha512.abcd")), &Mirrors::default(), LONG)
            .await
            .unwrap_err();
    assert_eq!(other.id, FailureKind::ToolchainChecksum, "{other:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_sandbox_asks_the_tests_registry_unless_it_names_one() {
    // None where the image is not built for this platform.
    let Some(registry) = NpmRegistry::start().await.unwrap() else { return };
    let bench = Bench::asking(registry.settings()).await;
    let chosen = "cd /workspace && npm config get registry 2>/dev/null";
    assert_eq!(bench.prints(chosen).await, registry.settings().url());
    bench.prints("cd /workspace && echo {} >package.json && echo registry=http://127.0.0.1:9/ >.npmrc").await;
    assert_eq!(bench.prints(chosen).await, "http://127.0.0.1:9/");
    bench.end().await;
}
