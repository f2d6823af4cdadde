//! One cache for what npm and pnpm fetch in sandboxes: a registry on loopback that asks the real one, and npm's own cache before.
//!
//! No folder is shared with sandboxes. Each keeps a cache of its own, as in production, and a hostile repository can write nothing that
//! another build reads. The registry is named at npm's weakest level, so that any other that a test or repository names is asked instead.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::image_tools;
use crate::processes::FleetProcess;

/// Names the run's registry, for the processes of that run alone.
pub const REGISTRY_VARIABLE: &str = "FLEET_TESTS_NPM_REGISTRY";

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/npm-registry/server.mjs");
/// Where a sandbox sees what it is told.
const SEEN: &str = "/opt/npm-registry/npmrc";
const READY: Duration = Duration::from_mins(4);

/// The registry, as long as this lives.
#[derive(Debug)]
pub struct NpmRegistry {
    _server: FleetProcess,
    settings: NpmSettings,
}

/// What sandboxes are told of a registry. Handed from process to process as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NpmSettings {
    url: String,
    folder: PathBuf,
}

impl NpmRegistry {
    /// Starts one; none where the image, whose npm it runs by, is not built for this platform.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with([]).await
    }

    /// The same with these variables, by which npm is set to another registry or cache, say.
    pub async fn start_with<const N: usize>(
        own: [(&'static str, OsString); N],
    ) -> anyhow::Result<Option<Self>> {
        let Some((node, npm)) = image_tools::node_and_npm()? else { return Ok(None) };
        let arguments = [OsString::from(SERVER), npm.into()];
        let machines = [("npm_config_globalconfig", OsString::from(machines_global_settings()?))];
        let mut server = FleetProcess::spawn_binary(&node, arguments, machines.into_iter().chain(own))?;
        let line = server.says("npm registry on", READY).await?;
        let url = line.rsplit(' ').next().context("the registry names its address last")?.to_owned();
        let settings = NpmSettings { url, folder: server.directory().join("work") };
        Ok(Some(Self { _server: server, settings }))
    }

    /// What sandboxes are told.
    pub fn settings(&self) -> &NpmSettings {
        &self.settings
    }

    /// The variable that tells the processes of a run which registry they share.
    pub fn announcement(&self) -> anyhow::Result<(&'static str, OsString)> {
        Ok((REGISTRY_VARIABLE, serde_json::to_string(&self.settings)?.into()))
    }
}

impl NpmSettings {
    /// Those of the run that this process belongs to; none in a process that was started alone, whose sandboxes ask the real registry.
    pub fn of_this_run() -> Option<Self> {
        serde_json::from_str(std::env::var_os(REGISTRY_VARIABLE)?.to_str()?).ok()
    }

    /// What sandboxd is to expose, as `SRC:DST`.
    pub fn exposed(&self) -> String {
        format!("{}:{SEEN}", self.global_settings().display())
    }

    /// The file that sandboxes see, here.
    pub fn global_settings(&self) -> PathBuf {
        self.folder.join("global")
    }

    /// Where the registry is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The variables of sandboxd, which every sandbox is given.
    pub fn variables(&self) -> Vec<(String, OsString)> {
        let user = self.user_settings().map(|path| ("NPM_CONFIG_USERCONFIG".to_owned(), path.into()));
        // Stronger than any file, where this machine has it; only a variable is as strong.
        let registries =
            std::env::vars().filter(|(name, _)| name.eq_ignore_ascii_case("npm_config_registry"));
        let registries = registries.map(|(name, _)| (name, OsString::from(&self.url)));
        let global = ("npm_config_globalconfig".to_owned(), OsString::from(SEEN));
        user.into_iter().chain(registries).chain([global]).collect()
    }

    /// The user's own settings without the registry, where they name one.
    pub fn user_settings(&self) -> Option<PathBuf> {
        Some(self.folder.join("user")).filter(|path| path.is_file())
    }
}

/// Where this machine's own npm has the settings that hold for everybody.
fn machines_global_settings() -> anyhow::Result<String> {
    let npm = Command::new("npm").args(["config", "get", "globalconfig"]).output().context("running npm")?;
    ensure!(npm.status.success(), "npm config: {}\n{}", npm.status, String::from_utf8_lossy(&npm.stderr));
    Ok(String::from_utf8(npm.stdout)?.trim().to_owned())
}
