//! What fleet.toml says of a target once defaults are applied; travels in the job, so a worker reads no file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything a worker needs to know of a target beside its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where to clone from.
    pub clone: CloneSettings,
    /// The snapshot that cold builds start from: its name or id; or a name whose newest `<name>.*` is meant.
    pub base_snapshot: String,
    /// Name of the size class of sandbox; decides nothing else.
    #[serde(default = "default_class")]
    pub class: String,
    /// Commands that replace what detection finds.
    #[serde(default)]
    pub commands: Commands,
    /// Plain environment of install, build and verify; stays readable everywhere, so never a secret.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of environment variables of the worker whose values install and build are given; values never travel.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
    /// Versions that win over what the repository says.
    #[serde(default)]
    pub toolchain: ToolchainSettings,
    /// How the repository is checked out.
    #[serde(default)]
    pub checkout: CheckoutSettings,
    /// How long each long stage may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Whom to ask about the repository; not used to build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How many prebuilds of the target are kept.
    #[serde(default = "default_keep")]
    pub keep: u32,
}

impl Settings {
    /// Names of every secret that a build may be given: those of install and build, and the git token.
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.secrets.iter().chain([&self.clone.token_secret]).cloned().collect()
    }
}

fn default_class() -> String {
    "default".to_owned()
}

fn default_keep() -> u32 {
    2
}

/// Where a repository is cloned from and which secret opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneSettings {
    /// The URL, without credentials; also the remote URL left in the prebuild.
    pub url: String,
    /// User name for HTTP Basic authentication.
    #[serde(default = "default_clone_user")]
    pub user: String,
    /// Name of the worker's environment variable that holds the token; used when that variable is set.
    #[serde(default = "default_token_secret")]
    pub token_secret: String,
}

fn default_clone_user() -> String {
    "x-access-token".to_owned()
}

fn default_token_secret() -> String {
    "GITHUB_TOKEN".to_owned()
}

/// Commands set by hand; each replaces the one that detection would choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commands {
    /// Installs the dependencies, in the checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<CommandSetting>,
    /// Builds, after the dependencies are in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<CommandSetting>,
    /// Runs in a sandbox started from the new prebuild; must exit 0 before it is promoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<CommandSetting>,
}

/// A command line for `bash -c`, or `false` to leave the step out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CommandSetting {
    /// `false` in fleet.toml: leave the step out. (`true` is refused by the settings loader.)
    Skip(#[serde(with = "only_false")] ()),
    /// Run this command line.
    Run(String),
}

mod only_false {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes a reference")]
    pub(super) fn serialize<S: Serializer>((): &(), serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(false)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        if bool::deserialize(deserializer)? {
            Err(D::Error::custom("write a command, or false to leave the step out"))
        } else {
            Ok(())
        }
    }
}

/// Versions set by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolchainSettings {
    /// Node version or range, as in package.json's `engines`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Package manager with its exact version, as in package.json's `packageManager`: `pnpm@9.15.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_manager: Option<String>,
}

/// How a repository is checked out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckoutSettings {
    /// A partial clone filter such as `blob:none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Folders of a sparse checkout (cone mode); all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sparse: Vec<String>,
    /// Whether Git LFS objects are fetched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lfs: bool,
    /// Whether submodules are checked out, recursively.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub submodules: bool,
    /// URLs of other repositories whose submodules and LFS objects are fetched with the git token too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// The longest each stage may take before its command is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// For fetching the repository, submodules and LFS included.
    #[serde(with = "humantime_serde")]
    pub checkout: Duration,
    /// Obtaining Node and the package manager.
    #[serde(with = "humantime_serde")]
    pub toolchain: Duration,
    /// For installing the dependencies.
    #[serde(with = "humantime_serde")]
    pub install: Duration,
    /// For the build script.
    #[serde(with = "humantime_serde")]
    pub build: Duration,
    /// For making the snapshot, from the request to its being active.
    #[serde(with = "humantime_serde")]
    pub capture: Duration,
    /// For the verify command.
    #[serde(with = "humantime_serde")]
    pub verify: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            checkout: Duration::from_mins(10),
            toolchain: Duration::from_mins(5),
            install: Duration::from_mins(20),
            build: Duration::from_mins(20),
            capture: Duration::from_hours(1),
            verify: Duration::from_mins(5),
        }
    }
}
