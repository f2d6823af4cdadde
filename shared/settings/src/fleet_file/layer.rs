//! What one table of fleet.toml says, `[defaults]` or a `[[repository]]`, and how one lies over the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use job::{CheckoutSettings, Commands, Timeouts, ToolchainSettings};

/// Which table is read; a few keys make sense in one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Defaults,
    Repository,
}

/// What a table says. Nothing said, nothing set.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) name: Option<(String, Range<usize>)>,
    pub(super) every: Option<Duration>,
    pub(super) branch: Option<String>,
    pub(super) clone_url: Option<String>,
    pub(super) clone_user: Option<String>,
    pub(super) token_secret: Option<String>,
    pub(super) base_snapshot: Option<String>,
    pub(super) class: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) keep: Option<u32>,
    pub(super) commands: Commands,
    pub(super) env: BTreeMap<String, String>,
    pub(super) secrets: Option<BTreeSet<String>>,
    pub(super) toolchain: ToolchainSettings,
    pub(super) checkout: Checkout,
    pub(super) timeouts: StageTimeouts,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Checkout {
    pub(super) filter: Option<String>,
    pub(super) sparse: Option<Vec<String>>,
    pub(super) lfs: Option<bool>,
    pub(super) submodules: Option<bool>,
    pub(super) also: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StageTimeouts {
    pub(super) checkout: Option<Duration>,
    pub(super) toolchain: Option<Duration>,
    pub(super) install: Option<Duration>,
    pub(super) build: Option<Duration>,
    pub(super) capture: Option<Duration>,
    pub(super) verify: Option<Duration>,
}

impl Layer {
    /// This one where it says something, `below` elsewhere: tables key by key, lists as a whole.
    pub(super) fn over(self, below: Self) -> Self {
        let mut env = below.env;
        env.extend(self.env);
        Self {
            name: self.name,
            every: self.every.or(below.every),
            branch: self.branch.or(below.branch),
            clone_url: self.clone_url.or(below.clone_url),
            clone_user: self.clone_user.or(below.clone_user),
            token_secret: self.token_secret.or(below.token_secret),
            base_snapshot: self.base_snapshot.or(below.base_snapshot),
            class: self.class.or(below.class),
            owner: self.owner.or(below.owner),
            keep: self.keep.or(below.keep),
            commands: Commands {
                install: self.commands.install.or(below.commands.install),
                build: self.commands.build.or(below.commands.build),
                verify: self.commands.verify.or(below.commands.verify),
            },
            env,
            secrets: self.secrets.or(below.secrets),
            toolchain: ToolchainSettings {
                node: self.toolchain.node.or(below.toolchain.node),
                package_manager: self.toolchain.package_manager.or(below.toolchain.package_manager),
            },
            checkout: self.checkout.over(below.checkout),
            timeouts: self.timeouts.over(below.timeouts),
        }
    }
}

impl Checkout {
    fn over(self, below: Self) -> Self {
        Self {
            filter: self.filter.or(below.filter),
            sparse: self.sparse.or(below.sparse),
            lfs: self.lfs.or(below.lfs),
            submodules: self.submodules.or(below.submodules),
            also: self.also.or(below.also),
        }
    }

    pub(super) fn into_settings(self) -> CheckoutSettings {
        CheckoutSettings {
            filter: self.filter,
            sparse: self.sparse.unwrap_or_default(),
            lfs: self.lfs.unwrap_or_default(),
            submodules: self.submodules.unwrap_or_default(),
            also: self.also.unwrap_or_default(),
        }
    }
}

impl StageTimeouts {
    fn over(self, below: Self) -> Self {
        Self {
            checkout: self.checkout.or(below.checkout),
            toolchain: self.toolchain.or(below.toolchain),
            install: self.install.or(below.install),
            build: self.build.or(below.build),
            capture: self.capture.or(below.capture),
            verify: self.verify.or(below.verify),
        }
    }

    pub(super) fn into_settings(self) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            checkout: self.checkout.unwrap_or(default.checkout),
            toolchain: self.toolchain.unwrap_or(default.toolchain),
            install: self.install.unwrap_or(default.install),
            build: self.build.unwrap_or(default.build),
            capture: self.capture.unwrap_or(default.capture),
            verify: self.verify.unwrap_or(default.verify),
        }
    }
}
