//! What was found to run in a checkout, and why: every source seen, which one won, and where they disagreed.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What an attempt will run, explainable line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The language runtime and package manager, exact.
    pub toolchain: Toolchain,
    /// Installs dependencies, or why it is left out.
    pub install: CommandStep,
    /// Builds, or why it is left out.
    pub build: CommandStep,
    /// Checks the prebuild before it is promoted, or why it is left out.
    pub verify: CommandStep,
    /// Every source looked at and what became of it.
    pub sources: Vec<Source>,
    /// Disagreements worth a person's look, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// The language runtime and package manager at exact versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Toolchain {
    /// A Node project, known by its package.json or by settings.
    Node {
        /// The exact version of Node: `22.23.3`.
        node: String,
        /// The package manager that installs its dependencies.
        package_manager: PackageManager,
    },
    /// Nothing this version knows how to install; the checkout is all there is.
    None,
}

/// A package manager at an exact version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageManager {
    /// Which package manager it is.
    pub kind: PackageManagerKind,
    /// Exact version; `None` for the npm that comes with Node's own major.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The hash that package.json's `packageManager` demands, `sha512.<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
}

/// The package managers known so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PackageManagerKind {
    /// npm, which comes with Node.
    Npm,
    /// pnpm, which is installed beside Node.
    Pnpm,
}

impl PackageManagerKind {
    /// Its name as typed on a command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A step that runs a command line, or why it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStep {
    /// Run this with `bash -c` in the checkout.
    Run {
        /// The command line, for `bash -c`.
        command: String,
        /// Where it comes from, `settings` or a file's name.
        from: String,
        /// What to run once when the first says that the lockfile is out of step with the manifest file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
    },
    /// Left out, and why.
    Skip(Skipped),
}

/// Why a step is left out; success, not failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// Settings leave it out.
    BySettings,
    /// The repository has nothing for this step (no `build` script, no dependencies).
    NothingToRun,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What it decides: `node`, `package_manager`, `install`, `build`, `verify`.
    pub decides: String,
    /// Where: `settings`, `.nvmrc`, `package.json#engines.node`...
    pub place: String,
    /// What it says, as written (bounded).
    pub says: String,
    /// What became of it.
    pub used: SourceUse,
}

/// What became of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceUse {
    /// It decided: nothing with precedence said anything.
    Winner,
    /// Something with precedence decided, and it agrees.
    Agrees,
    /// Something with precedence decided, and it disagrees.
    Overruled,
    /// It could not be understood; the next one was asked.
    Unreadable,
}
