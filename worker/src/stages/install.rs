//! Dependencies: by the lockfile where there is one, and plainly, once and flagged, where it is out of step.

use std::time::Duration;

use job::{
    CommandStep, Failure, FailureKind, LockfileHash, PackageManagerKind, Recipe, Stage, Tail, Toolchain,
};

use crate::failures::from_install;
use crate::sandbox::{Environment, FinishedCommand, LongCommand, SHORT, Sandbox};

/// The lockfile did not match and dependencies were resolved anew; the file itself is as committed.
pub const DEGRADED_LOCKFILE: &str = "degraded.lockfile";
/// There is no lockfile, so that versions are whatever was newest.
pub const DEGRADED_NO_LOCKFILE: &str = "degraded.no_lockfile";

const LOCKFILES: &str = include_str!("install/lockfiles.sh");
const RESTORE: &str = include_str!("install/restore.sh");

/// Bytes of a lockfile that are kept at most.
const LOCKFILE_LIMIT: usize = 64 << 20;

/// What was installed, and how cleanly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// What a session should know: [`DEGRADED_LOCKFILE`], [`DEGRADED_NO_LOCKFILE`].
    pub flags: Vec<String>,
    /// The lockfiles as committed, for the manifest.
    pub lockfiles: Vec<LockfileHash>,
}

/// Installs what the recipe says into the checkout at `path`.
pub async fn run(
    sandbox: &Sandbox,
    path: &str,
    recipe: &Recipe,
    environment: &Environment,
    deadline: Duration,
) -> Result<Installed, Failure> {
    // As committed: whoever asks after install is told what install likes.
    let kept = keep_lockfiles(sandbox, path).await?;
    let lockfiles = kept.iter().map(|kept| kept.hash.clone()).collect::<Vec<_>>();
    let CommandStep::Run { command, fallback, from } = &recipe.install else {
        return Ok(Installed { flags: Vec::new(), lockfiles });
    };
    let environment = command_environment(environment, &recipe.toolchain);
    let mut flags = Vec::new();
    if let Err(failure) = run_command(sandbox, path, "frozen", command, &environment, deadline).await {
        let out_of_step = failure.id == FailureKind::InstallLockfileOutOfSync;
        let Some(fallback) = fallback.as_ref().filter(|_| out_of_step) else { return Err(failure) };
        match run_command(sandbox, path, "plain", fallback, &environment, deadline).await {
            Ok(()) => flags.push(DEGRADED_LOCKFILE.to_owned()),
            Err(plain) if plain.id == FailureKind::InstallFailed => {
                let message =
                    format!("{}; a plain install failed as well: {}", failure.message, plain.message);
                return Err(Failure::new(failure.id, message).with_output(plain.exit_code, plain.log_tail));
            }
            Err(plain) => return Err(plain),
        }
    }
    restore_lockfiles(sandbox, path, &kept).await?;
    if from == "package.json" && lockfiles.is_empty() {
        flags.push(DEGRADED_NO_LOCKFILE.to_owned());
    }
    Ok(Installed { flags, lockfiles })
}

async fn run_command(
    sandbox: &Sandbox,
    path: &str,
    label: &'static str,
    command: &str,
    environment: &Environment,
    deadline: Duration,
) -> Result<(), Failure> {
    let long = LongCommand {
        stage: Stage::Install,
        label,
        script: command.to_owned(),
        cwd: path.to_owned(),
        environment: environment.clone(),
        deadline,
    };
    let end = sandbox.run(&long).await?;
    let FinishedCommand { code, tail } = end.into_finished(&long, sandbox.least_free_bytes())?;
    if code == 0 { Ok(()) } else { Err(from_install(&tail).with_output(Some(code), tail)) }
}

/// A lockfile as it was committed.
struct KeptLockfile {
    hash: LockfileHash,
    content: Vec<u8>,
}

/// The lockfiles that are tracked.
async fn keep_lockfiles(sandbox: &Sandbox, path: &str) -> Result<Vec<KeptLockfile>, Failure> {
    let environment = Environment::new().with("HARVEST_PATH", path);
    let executed = sandbox.short(Stage::Install, LOCKFILES, &environment, SHORT).await?;
    let unreadable = |why: &str| {
        let text = format!("the lockfiles could not be read: {}", why.trim());
        Failure::new(FailureKind::Internal, text).at(Stage::Install)
    };
    if executed.exit_code != 0 {
        return Err(unreadable(&executed.result));
    }
    let mut kept = Vec::new();
    for (sha256, name) in executed.result.lines().filter_map(|line| line.split_once("  ")) {
        let content = sandbox.download(Stage::Install, &format!("{path}/{name}"), LOCKFILE_LIMIT).await?;
        let content = content.ok_or_else(|| unreadable(name))?;
        let hash = LockfileHash { path: name.to_owned(), sha256: sha256.to_owned() };
        kept.push(KeptLockfile { hash, content });
    }
    Ok(kept)
}

/// Puts the lockfiles back as they were committed.
async fn restore_lockfiles(sandbox: &Sandbox, path: &str, kept: &[KeptLockfile]) -> Result<(), Failure> {
    let sums: Vec<String> =
        kept.iter().map(|kept| format!("{} {}", kept.hash.sha256, kept.hash.path)).collect();
    let sums = sums.join("\n");
    let environment = Environment::new().with("HARVEST_PATH", path).with("HARVEST_SUMS", sums);
    let executed = sandbox.short(Stage::Install, RESTORE, &environment, SHORT).await?;
    if executed.exit_code != 0 {
        let text = format!("install changed a lockfile that cannot be put back: {}", executed.result.trim());
        return Err(Failure::new(FailureKind::InstallFailed, text)
            .with_output(Some(executed.exit_code), Tail::of(&executed.result)));
    }
    let changed = |kept: &&KeptLockfile| executed.result.lines().any(|name| name == kept.hash.path);
    for KeptLockfile { hash, content } in kept.iter().filter(changed) {
        sandbox.upload(Stage::Install, &format!("{path}/{}", hash.path), content.clone()).await?;
    }
    Ok(())
}

/// What every install and build is told, unless the target's settings say otherwise.
pub(super) fn command_environment(environment: &Environment, toolchain: &Toolchain) -> Environment {
    let environment = environment
        .clone()
        // No prompts, no progress bars.
        .or("CI", "true")
        .or("NO_COLOR", "1")
        // Hooks are for people who commit.
        .or("HUSKY", "0")
        .or("LEFTHOOK", "0")
        .or("npm_config_fund", "false")
        .or("npm_config_audit", "false")
        .or("npm_config_update_notifier", "false")
        .or("npm_config_fetch_retries", "5")
        // The versions are in place: nobody fetches others behind our back.
        .or("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0")
        .or("COREPACK_ENABLE_AUTO_PIN", "0")
        .or("NEXT_TELEMETRY_DISABLED", "1");
    match toolchain {
        // npm warns of a setting it does not know, so only pnpm hears of it.
        Toolchain::Node { package_manager, .. } if package_manager.kind == PackageManagerKind::Pnpm => {
            environment
                .or("npm_config_manage_package_manager_versions", "false")
                .or("npm_config_production", "false")
        }
        // The build needs the development dependencies, whatever NODE_ENV says.
        Toolchain::Node { .. } => environment.or("npm_config_include", "dev"),
        Toolchain::None => environment,
    }
}
