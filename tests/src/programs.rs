//! The programs under test, built by the same cargo into the same folder as the test that starts them, before the first of
//! them starts: no test can meet yesterday's program.
//!
//! That costs a test process a second or so. Who has just built them says so with [`PROGRAMS_VARIABLE`], for its children.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow};

/// Names the folder whose programs were built by the run that the process belongs to.
pub const PROGRAMS_VARIABLE: &str = "FLEET_TESTS_PROGRAMS";

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A program of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Producer,
    Worker,
    Harvestctl,
    Sandboxd,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Harvestctl => "harvestctl",
            Self::Sandboxd => "sandboxd",
        }
    }

    /// What several of them are called.
    pub fn in_counts(self) -> &'static str {
        match self {
            Self::Producer => "producers",
            Self::Worker => "workers",
            Self::Harvestctl => "harvestctl commands",
            Self::Sandboxd => "sandboxd servers",
        }
    }

    /// The binary, up to date.
    pub fn path(self) -> anyhow::Result<PathBuf> {
        Ok(built()?.join(self.name()))
    }
}

/// An example of the tests' crate, up to date.
pub fn example(name: &str) -> anyhow::Result<PathBuf> {
    Ok(built()?.join("examples").join(name))
}

/// The variable that tells test processes that the programs in `folder` are up to date.
pub fn announcement(folder: &Path) -> (&'static str, OsString) {
    (PROGRAMS_VARIABLE, folder.into())
}

/// The folder of up-to-date programs; built once for a process, by the first that asks, while others wait.
pub fn built() -> anyhow::Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_beside_this().map_err(|error| format!("{error:#}")));
    match built {
        Ok(folder) => Ok(folder),
        Err(error) => Err(anyhow!(error.clone())),
    }
}

fn build_beside_this() -> anyhow::Result<PathBuf> {
    let folder = folder_of_this()?;
    if std::env::var_os(PROGRAMS_VARIABLE).is_none_or(|built| built.as_os_str() != folder.as_os_str()) {
        build(&folder)?;
    }
    Ok(folder)
}

/// Where cargo puts the programs that go with this one.
fn folder_of_this() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("where this program is")?;
    let beside = this.parent().context("a program lies in a folder")?;
    // Tests and examples lie one deeper than the programs.
    let deeper = beside.ends_with("deps") || beside.ends_with("examples");
    Ok(if deeper { beside.parent().unwrap_or(beside) } else { beside }.to_owned())
}

/// Runs the `cargo build` whose outcome lies in `folder`: its name is the profile's, what it lies in the target folder.
fn build(folder: &Path) -> anyhow::Result<()> {
    let named = folder.file_name().and_then(|name| name.to_str()).context("a profile has a name")?;
    let profile = if named == "debug" { "dev" } else { named };
    let target = folder.parent().context("programs lie in a target folder")?;
    // The same as the Makefile's, word for word: any other choice has other features, and compiles the libraries once more.
    let what = ["build", "--workspace", "--bins", "--examples", "--locked", "--profile", profile];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(what).arg("--target-dir").arg(target).current_dir(WORKSPACE);
    let output = cargo.output().context("running cargo to build the programs under test")?;
    if !output.status.success() {
        return Err(anyhow!(
            "the programs under test do not build: cargo {} ended with {}\n{}",
            what.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(())
}
