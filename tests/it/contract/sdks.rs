//! The official SDKs, each version in a place of its own beside the build, installed once from what is pinned here.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use super::{contract, run};

/// Never in the repository.
fn installed(language: &str, version: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join(format!("contract-{language}-{version}"))
}

/// A Python that has `daytona` in this version.
pub(super) async fn python(version: &str) -> anyhow::Result<PathBuf> {
    let venv = installed("py", version);
    let marker = venv.join("installed");
    if !marker.exists() {
        let python = if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv))
            .await
            .context("python3 -m venv (package python3-venv)")?;
        run(Command::new(venv.join("bin/pip"))
            // Nothing outside the build directory is written.
            .args(["install", "-q", "--no-cache-dir", "--require-hashes", "--no-deps", "-r"])
            .arg(contract().join(format!("python/{version}.txt"))))
        .await?;
        std::fs::write(marker, "")?;
    }
    Ok(venv.join("bin/python"))
}

/// A folder whose `node_modules` have `@daytonaio/sdk` in this version.
pub(super) async fn node_modules(version: &str) -> anyhow::Result<PathBuf> {
    let folder = installed("js", version);
    let marker = folder.join("installed");
    if !marker.exists() {
        std::fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(contract().join("node").join(version).join(file), folder.join(file))?;
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder))
        .await?;
        std::fs::write(marker, "")?;
    }
    Ok(folder)
}
