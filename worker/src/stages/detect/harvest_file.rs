//! `.harvest.toml` in a repository: what whoever can push may set. Anything else in it is refused, so that nobody believes
//! it works: never secrets, the class of sandbox, or longer timeouts.

use job::{CheckoutSettings, CommandSetting, Failure};
use serde::Deserialize;

use super::files::Files;

/// What a repository's `.harvest.toml` says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HarvestFile {
    pub(super) commands: FileCommands,
    pub(super) toolchain: FileToolchain,
    checkout: FileCheckout,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileCommands {
    pub(super) install: Option<CommandSetting>,
    pub(super) build: Option<CommandSetting>,
    pub(super) verify: Option<CommandSetting>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileToolchain {
    pub(super) node: Option<String>,
    pub(super) package_manager: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileCheckout {
    filter: Option<String>,
    sparse: Vec<String>,
    lfs: bool,
    submodules: bool,
}

impl HarvestFile {
    pub(super) fn read(files: &Files) -> Result<Self, Failure> {
        let Some(text) = files.text(".harvest.toml") else { return Ok(Self::default()) };
        let file: Self = toml::from_str(text).map_err(|error| {
            let what = error.message();
            super::invalid(format!(
                ".harvest.toml: {what}; it may set commands, toolchain and checkout, nothing else"
            ))
        })?;
        let plain = |text: &String| !text.is_empty() && !text.contains(char::is_control);
        if !file.checkout.sparse.iter().chain(&file.checkout.filter).all(plain) {
            return Err(super::invalid(
                ".harvest.toml: checkout.sparse and checkout.filter are plain one-line texts",
            ));
        }
        Ok(file)
    }

    /// The checkout settings with what this file adds to them, when it adds something. Settings win.
    pub(super) fn checkout(&self, settings: &CheckoutSettings) -> Option<CheckoutSettings> {
        let merged = CheckoutSettings {
            filter: settings.filter.clone().or_else(|| self.checkout.filter.clone()),
            sparse: if settings.sparse.is_empty() {
                self.checkout.sparse.clone()
            } else {
                settings.sparse.clone()
            },
            lfs: settings.lfs || self.checkout.lfs,
            submodules: settings.submodules || self.checkout.submodules,
            // Where the token goes is said by fleet.toml alone.
            also: settings.also.clone(),
        };
        (merged != *settings).then_some(merged)
    }
}
