//! What a server is started with. The environment is read here once (by `Settings::new`) and nowhere else,
//! so that several servers with different settings fit in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use strum::{EnumString, VariantArray};

use crate::manner::{FailedAuthentications, Manner, Transfers};

/// Environment variables of the server that reach sandbox processes: registries, proxies, certificates.
/// A trailing `*` stands for any ending.
pub const PASSED_ENVIRONMENT: &[&str] = &[
    "npm_config_*",
    "NPM_CONFIG_*",
    "YARN_*",
    "PNPM_*",
    "COREPACK_*",
    "PIP_*",
    "UV_*",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// What an API key may do beyond reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, EnumString, VariantArray)]
pub enum Permission {
    #[serde(rename = "write:sandboxes")]
    #[strum(serialize = "write:sandboxes")]
    WriteSandboxes,
    #[serde(rename = "delete:sandboxes")]
    #[strum(serialize = "delete:sandboxes")]
    DeleteSandboxes,
    #[serde(rename = "write:snapshots")]
    #[strum(serialize = "write:snapshots")]
    WriteSnapshots,
    #[serde(rename = "delete:snapshots")]
    #[strum(serialize = "delete:snapshots")]
    DeleteSnapshots,
}

/// What somebody comes with. Some routes are not for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    ApiKey,
    /// The JWT of a person who logged in.
    LoggedIn,
}

/// One API key: bound to one organization, as Daytona's are.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub secret: SecretString,
    pub organization: String,
    pub permissions: BTreeSet<Permission>,
    pub kind: TokenKind,
}

/// The organization of keys that name none.
pub const DEFAULT_ORGANIZATION: &str = "00000000-0000-4000-8000-000000000001";

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("an API key is empty")]
    Empty,
    #[error(
        "unknown permission in an API key; known: write:sandboxes delete:sandboxes write:snapshots delete:snapshots none"
    )]
    UnknownPermission,
}

impl ApiKey {
    /// A key with every permission in the default organization.
    pub fn full(secret: impl Into<String>) -> Self {
        Self {
            secret: SecretString::from(secret.into()),
            organization: DEFAULT_ORGANIZATION.to_owned(),
            permissions: Permission::VARIANTS.iter().copied().collect(),
            kind: TokenKind::ApiKey,
        }
    }

    /// A person who logged in, with every permission in the default organization.
    pub fn logged_in(token: impl Into<String>) -> Self {
        Self { kind: TokenKind::LoggedIn, ..Self::full(token) }
    }

    /// `KEY[;PERMISSION+PERMISSION...|none][;ORGANIZATION]`. Never quotes the text in its errors.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().split(';');
        let secret = parts.next().filter(|secret| !secret.is_empty()).ok_or(KeyError::Empty)?;
        let mut key = Self::full(secret);
        if let Some(list) = parts.next().filter(|list| !list.is_empty()) {
            let names = list.split('+').filter(|name| *name != "none");
            key.permissions = names
                .map(|name| name.parse().map_err(|_| KeyError::UnknownPermission))
                .collect::<Result<_, _>>()?;
        }
        if let Some(organization) = parts.next().filter(|organization| !organization.is_empty()) {
            organization.clone_into(&mut key.organization);
        }
        Ok(key)
    }
}

/// A file or directory of this machine that every sandbox sees, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Where it is here.
    pub source: PathBuf,
    /// Where a sandbox sees it.
    pub destination: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ExposeError {
    #[error("{0} can't be found")]
    Source(PathBuf, #[source] std::io::Error),
    #[error("a sandbox can't see something at `{0}`: name an absolute path below /, without `.` or `..`")]
    Destination(PathBuf),
}

impl Exposed {
    /// `SRC[:DST]`. Without DST it is seen where it is; links in SRC are followed.
    pub fn parse(text: &str) -> Result<Self, ExposeError> {
        let (source, destination) =
            text.rsplit_once(':').map_or((text, None), |(source, destination)| (source, Some(destination)));
        let source =
            Path::new(source).canonicalize().map_err(|error| ExposeError::Source(source.into(), error))?;
        let Some(destination) = destination.map(PathBuf::from) else { return Ok(source.into()) };
        // Taken apart as text: `components()` would pass over a `.` in the middle.
        let names = destination.to_str().and_then(|path| path.strip_prefix('/')).unwrap_or_default();
        if names.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(ExposeError::Destination(destination));
        }
        Ok(Self { source, destination })
    }
}

/// Seen where it is.
impl From<PathBuf> for Exposed {
    fn from(path: PathBuf) -> Self {
        Self { source: path.clone(), destination: path }
    }
}

/// Limits of an organization; going past one is answered as Daytona does.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    pub snapshots: u32,
    pub cpu: u32,
    pub memory_gb: u32,
    pub disk_gb: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { snapshots: 100, cpu: 1_000, memory_gb: 2_000, disk_gb: 10_000 }
    }
}

/// Whether snapshots outlive the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    KeepSnapshots,
    RemoveAll,
}

/// Whether the routes under `/faults` are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultInjection {
    Enabled,
    Disabled,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub manner: Manner,
    /// None: nobody is ever locked out.
    pub failed_authentications: Option<FailedAuthentications>,
    /// How long the toolbox's proxy goes on believing that a key may reach a sandbox.
    pub access_cache: Duration,
    /// How long a snapshot that was put to sleep can't be woken.
    pub activation_cooldown: Duration,
    pub transfers: Transfers,
    /// What lies in the base snapshot's /tmp and belongs to another user, as root's files do in an image. Needs root.
    pub foreign_files: Vec<String>,
    /// What clients reach the server as, where that is not the address it listens on: toolbox addresses begin with it.
    pub public_url: Option<String>,
    pub api_keys: Vec<ApiKey>,
    pub base_snapshot: String,
    /// Bind-mounted read-only into every sandbox.
    pub expose_read_only: Vec<Exposed>,
    pub quotas: Quotas,
    /// Given to every sandbox process, below the sandbox's own env. Never captured.
    pub environment: BTreeMap<String, String>,
    /// npm's user configuration; reaches sandboxes read-only at a path no snapshot holds.
    pub npm_user_config: Option<PathBuf>,
    /// Where `node`, `npm` and `git` are looked for when /usr has none.
    pub search_path: Vec<PathBuf>,
    pub retention: Retention,
    pub faults: FaultInjection,
    /// How long one "minute" of autoStopInterval, autoDeleteInterval and ttlMinutes lasts; shorter in tests.
    pub minute: Duration,
    /// How often intervals are checked.
    pub tick: Duration,
}

impl Settings {
    /// Defaults, with the registry settings, proxies and certificates of this process's environment.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let names: Vec<String> = PASSED_ENVIRONMENT.iter().map(|name| (*name).to_owned()).collect();
        let environment = passed_environment(&names);
        let process: BTreeMap<String, String> = process_environment();
        let npm_user_config = environment
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("npm_config_userconfig"))
            .map(|(_, path)| PathBuf::from(path))
            .or_else(|| process.get("HOME").map(|home| Path::new(home).join(".npmrc")))
            .filter(|path| path.is_file());
        let path = process.get("PATH").map_or("", String::as_str);
        Self {
            data_dir: data_dir.into(),
            manner: Manner::V0_226,
            failed_authentications: None,
            access_cache: Duration::from_mins(2),
            activation_cooldown: Duration::from_mins(10),
            transfers: Transfers::default(),
            foreign_files: Vec::new(),
            public_url: None,
            api_keys: Vec::new(),
            base_snapshot: "harvest-snapshot".to_owned(),
            expose_read_only: Vec::new(),
            quotas: Quotas::default(),
            environment,
            npm_user_config,
            search_path: std::env::split_paths(path).collect(),
            retention: Retention::KeepSnapshots,
            faults: FaultInjection::Disabled,
            minute: Duration::from_mins(1),
            tick: Duration::from_secs(1),
        }
    }
}

fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The variables of this process that match one of `patterns`.
pub fn passed_environment(patterns: &[String]) -> BTreeMap<String, String> {
    let matches = |name: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        })
    };
    process_environment().into_iter().filter(|(name, _)| matches(name)).collect()
}
