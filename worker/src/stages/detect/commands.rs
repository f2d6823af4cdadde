//! What runs: what is set by hand, else what the package manager's lockfile and scripts call for.

use job::{
    CommandSetting, CommandStep, Failure, PackageManagerKind, Settings, Skipped, SourceUse, Toolchain,
};

use super::files::Files;
use super::harvest_file::HarvestFile;
use super::sources::Sources;
use super::{invalid, set_by_hand};

/// Scripts that an install runs even where there are no dependencies.
const INSTALL_SCRIPTS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

pub(super) fn install(
    files: &Files,
    settings: &Settings,
    file: &HarvestFile,
    toolchain: &Toolchain,
    sources: &mut Sources,
) -> Result<CommandStep, Failure> {
    if let Some(step) =
        by_hand("install", settings.commands.install.as_ref(), file.commands.install.as_ref(), sources)
    {
        return Ok(step);
    }
    let Toolchain::Node { package_manager, .. } = toolchain else {
        return Ok(CommandStep::Skip(Skipped::NothingToRun));
    };
    if !has_something_to_install(files)? {
        return Ok(CommandStep::Skip(Skipped::NothingToRun));
    }
    let (command, fallback, from) = match package_manager.kind {
        PackageManagerKind::Npm => {
            match ["npm-shrinkwrap.json", "package-lock.json"]
                .into_iter()
                .find(|lockfile| files.has(lockfile))
            {
                Some(lockfile) => ("npm ci", Some("npm install"), lockfile),
                None => ("npm install --no-package-lock", None, "package.json"),
            }
        }
        PackageManagerKind::Pnpm if files.has("pnpm-lock.yaml") => {
            ("pnpm install --frozen-lockfile", Some("pnpm install --no-frozen-lockfile"), "pnpm-lock.yaml")
        }
        PackageManagerKind::Pnpm => ("pnpm install --no-lockfile", None, "package.json"),
    };
    sources.note("install", from, command, SourceUse::Winner);
    Ok(CommandStep::Run {
        command: command.to_owned(),
        from: from.to_owned(),
        fallback: fallback.map(str::to_owned),
    })
}

pub(super) fn build(
    files: &Files,
    settings: &Settings,
    file: &HarvestFile,
    toolchain: &Toolchain,
    sources: &mut Sources,
) -> Result<CommandStep, Failure> {
    if let Some(step) =
        by_hand("build", settings.commands.build.as_ref(), file.commands.build.as_ref(), sources)
    {
        return Ok(step);
    }
    let Toolchain::Node { package_manager, .. } = toolchain else {
        return Ok(CommandStep::Skip(Skipped::NothingToRun));
    };
    let Some(script) = files.package("/scripts/build") else {
        return Ok(CommandStep::Skip(Skipped::NothingToRun));
    };
    let script = script.as_str().ok_or_else(|| invalid("package.json: scripts.build is not a text"))?;
    let from = "package.json#scripts.build";
    sources.note("build", from, script, SourceUse::Winner);
    let command = format!("{} run build", package_manager.kind.as_str());
    Ok(CommandStep::Run { command, from: from.to_owned(), fallback: None })
}

pub(super) fn verify(settings: &Settings, file: &HarvestFile, sources: &mut Sources) -> CommandStep {
    by_hand("verify", settings.commands.verify.as_ref(), file.commands.verify.as_ref(), sources)
        .unwrap_or(CommandStep::Skip(Skipped::NothingToRun))
}

fn by_hand(
    decides: &str,
    settings: Option<&CommandSetting>,
    file: Option<&CommandSetting>,
    sources: &mut Sources,
) -> Option<CommandStep> {
    let (winner, from) = set_by_hand(settings, file)?;
    for (place, set) in [("settings", settings), (".harvest.toml", file)] {
        let Some(set) = set else { continue };
        let used = if place == from {
            SourceUse::Winner
        } else if set == winner {
            SourceUse::Agrees
        } else {
            SourceUse::Overruled
        };
        let says = match set {
            CommandSetting::Skip(()) => "false",
            CommandSetting::Run(command) => command,
        };
        sources.note(decides, place, says, used);
    }
    Some(match winner {
        CommandSetting::Skip(()) => CommandStep::Skip(Skipped::BySettings),
        CommandSetting::Run(command) => {
            CommandStep::Run { command: command.clone(), from: from.to_owned(), fallback: None }
        }
    })
}

fn has_something_to_install(files: &Files) -> Result<bool, Failure> {
    for field in ["dependencies", "devDependencies", "optionalDependencies", "scripts"] {
        if files.package(&format!("/{field}")).is_some_and(|value| !value.is_object()) {
            return Err(invalid(format!("package.json: {field} is not an object")));
        }
    }
    let dependencies = ["/dependencies", "/devDependencies", "/optionalDependencies", "/peerDependencies"];
    let scripts = INSTALL_SCRIPTS.iter().any(|script| files.package(&format!("/scripts/{script}")).is_some());
    let workspace = files.package("/workspaces").is_some() || files.has("pnpm-workspace.yaml");
    Ok(dependencies.iter().any(|pointer| files.package_has_entries(pointer)) || workspace || scripts)
}
