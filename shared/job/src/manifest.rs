//! `/workspace/.harvest/manifest.json` in every prebuild: what a session, or a warm build, needs to know of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, BuildMode, CheckoutSettings, CloneSettings, Commit, Completeness, Failure, Fingerprint,
    FleetName, JobId, PrebuildName, Recipe, Stage, Target,
};

/// Where it lies in a prebuild.
pub const MANIFEST_PATH: &str = "/workspace/.harvest/manifest.json";

/// The version written now. Readers take any version and ignore fields they do not know.
pub const MANIFEST_VERSION: u32 = 1;

/// What a prebuild holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The [`MANIFEST_VERSION`] of the worker that wrote it.
    pub version: u32,
    /// The fleet that built it.
    pub fleet: FleetName,
    /// What it is of.
    pub target: Target,
    /// The folder of the checkout.
    pub path: String,
    /// The commit checked out.
    pub commit: Commit,
    /// Where it was cloned from: a session's token goes to that repository and to no other. Older workers wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneSettings>,
    /// How it was checked out, what the repository's own file asked for included. Older workers wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<CheckoutSettings>,
    /// The plain environment that install and build were given besides.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of the secrets that install and build were given. Older workers wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeSet<String>>,
    /// SHA-256 of the settings that the base had in the home, by their path in it: a session keeps those, and no others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub home: BTreeMap<String, String>,
    /// The inputs known before the build.
    pub fingerprint: Fingerprint,
    /// The prebuild's own name.
    pub prebuild: PrebuildName,
    /// Whether it was built from the base or from an earlier prebuild.
    pub mode: BuildMode,
    /// The job that asked for it.
    pub job: JobId,
    /// The attempt that built it.
    pub attempt: AttemptId,
    /// Whether the build script succeeded.
    pub completeness: Completeness,
    /// The failure of the build script, when partial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_failure: Option<Failure>,
    /// What else a session should know: `degraded.lockfile`, ...
    #[serde(default)]
    pub flags: Vec<String>,
    /// What of the base could not be cleared before the capture, being another user's: paths, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// What ran, and why.
    pub recipe: Recipe,
    /// What the tools say of themselves.
    pub tools: BTreeMap<String, ToolVersion>,
    /// What was put there before install, as it was put back before the capture.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// The lockfiles dependencies were installed from.
    pub lockfiles: Vec<LockfileHash>,
    /// Every stage up to scrub.
    pub stages: Vec<StageReport>,
    /// The bytes on disk that all of it added to the base, what was removed in the end included; as the sandbox said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<i64>,
    /// When the attempt began.
    pub started_at: DateTime<Utc>,
    /// When this file was written.
    pub finished_at: DateTime<Utc>,
}

impl Manifest {
    /// Names of every secret that it may have been given, the git token's too; none where its worker wrote none.
    pub fn secret_names(&self) -> Option<BTreeSet<String>> {
        let token = self.clone.iter().map(|clone| clone.token_secret.clone());
        Some(self.secrets.as_ref()?.iter().cloned().chain(token).collect())
    }
}

/// Digests of what was in the sandbox before anything of the repository ran, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Of what is put back as it was: git's own files, and those of the home that steer git, shells and agents.
    pub put_back: String,
    /// Of the list of the toolchain's files, which lies beside the manifest.
    pub tools: String,
}

/// A tool's version as it prints it, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolVersion {
    /// The version as the tool prints it: `22.23.3`.
    pub version: String,
    /// The path of the program in the sandbox.
    pub path: String,
}

/// A lockfile, and the hash of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockfileHash {
    /// Path within the checkout.
    pub path: String,
    /// The SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
}

/// How a stage went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// The stage that ended.
    pub stage: Stage,
    /// `ok`, `skipped`, `degraded`, or the failure's id.
    pub result: String,
    /// How long, in milliseconds.
    pub milliseconds: u64,
    /// The bytes on disk that it added, where that was measured; less than none where it removed more than it added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<i64>,
}
