//! The git commands behind the server: each repository is a bare one that is served and a clone that is written in.
//! Nobody's git configuration is read, so a developer's hooks, signing keys or default branch change nothing.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::DEFAULT_BRANCH;

/// A git command that reads no configuration but the repository's.
pub(super) fn command(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|variable| (variable, "Sample Author")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|variable| (variable, "author@example.com")))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    git
}

async fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = command(directory).args(arguments).output().await.context("running git")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {arguments:?}: {}\n{errors}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

pub(super) async fn create(bare: &Path, work: &Path, files: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(bare)?;
    std::fs::create_dir_all(work)?;
    git(bare, &["init", "--quiet", "--bare", "--initial-branch", DEFAULT_BRANCH]).await?;
    // As the large hosts have it: partial clones, and fetches of any commit that is still there.
    git(bare, &["config", "uploadpack.allowFilter", "true"]).await?;
    git(bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]).await?;
    git(work, &["init", "--quiet", "--initial-branch", DEFAULT_BRANCH]).await?;
    git(work, &["remote", "add", "origin", &bare.display().to_string()]).await?;
    copy(files, work)?;
    record(work, DEFAULT_BRANCH, &["--message", "First commit"]).await
}

/// The commit that the work tree is on.
pub(super) async fn head(work: &Path) -> anyhow::Result<String> {
    Ok(git(work, &["rev-parse", "HEAD"]).await?.trim().to_owned())
}

pub(super) async fn commit(work: &Path, branch: &str, files: &[(&str, &str)]) -> anyhow::Result<String> {
    check_out(work, branch).await?;
    write(work, files)?;
    record(work, branch, &["--message", "Change"]).await
}

pub(super) async fn replace_head(
    bare: &Path,
    work: &Path,
    branch: &str,
    files: &[(&str, &str)],
) -> anyhow::Result<String> {
    check_out(work, branch).await?;
    write(work, files)?;
    let commit = record(work, branch, &["--amend", "--message", "Rewritten"]).await?;
    // Hosts keep unreachable commits for a while; the case worth testing is the one where they do not.
    git(bare, &["reflog", "expire", "--expire=now", "--all"]).await?;
    git(bare, &["gc", "--quiet", "--prune=now"]).await?;
    Ok(commit)
}

pub(super) async fn delete_branch(work: &Path, branch: &str) -> anyhow::Result<()> {
    git(work, &["push", "--quiet", "origin", "--delete", branch]).await.map(drop)
}

async fn check_out(work: &Path, branch: &str) -> anyhow::Result<()> {
    let exists = git(work, &["branch", "--list", branch]).await?;
    if exists.is_empty() {
        git(work, &["checkout", "--quiet", "-b", branch, DEFAULT_BRANCH]).await?;
    } else {
        git(work, &["checkout", "--quiet", branch]).await?;
    }
    Ok(())
}

pub(super) async fn link(work: &Path, branch: &str, links: &[(&str, &str)]) -> anyhow::Result<String> {
    check_out(work, branch).await?;
    for (path, commit) in links {
        git(work, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]).await?;
    }
    // Not all that is there: a submodule whose folder is missing would count as removed.
    git(work, &["commit", "--quiet", "--allow-empty", "--message", "Link submodules"]).await?;
    git(work, &["push", "--quiet", "--force", "origin", branch]).await?;
    git(work, &["rev-parse", "HEAD"]).await
}

async fn record(work: &Path, branch: &str, how: &[&str]) -> anyhow::Result<String> {
    git(work, &["add", "--all"]).await?;
    git(work, &[&["commit", "--quiet", "--allow-empty"], how].concat()).await?;
    git(work, &["push", "--quiet", "--force", "origin", branch]).await?;
    git(work, &["rev-parse", "HEAD"]).await
}

fn write(work: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    for (path, text) in files {
        let path = work.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Copies a directory of files, without what an install or a build left in it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "node_modules" || name == "dist" || name == ".git" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
