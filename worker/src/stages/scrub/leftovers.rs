//! What package managers and git leave behind that a session does not need: it costs the capture, and every first start, and saves
//! less. The shell script beside this has one branch per name.

use job::Stage;
use serde::Deserialize;

use crate::sandbox::{Environment, SHORT, Sandbox};

const SCRIPT: &str = include_str!("leftovers.sh");

/// Whether a leftover goes into the prebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// It is removed before the capture.
    Drop,
    /// It stays for sessions.
    Keep,
}

/// The section `[leftovers]` of the settings: what of it goes into prebuilds. config/worker.toml has the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftoverSection {
    /// The packages that npm downloaded.
    pub npm_cache: Leave,
    /// Node's headers for native modules.
    pub node_gyp: Leave,
    /// What pnpm knows of packages' versions.
    pub pnpm_metadata: Leave,
    /// The store that pnpm links node_modules from.
    pub pnpm_store: Leave,
    /// The downloads of yarn 1.
    pub yarn_cache: Leave,
    /// What Next.js keeps for its next production build.
    pub next_cache: Leave,
    /// What compilers keep in node_modules/.cache.
    pub compiler_caches: Leave,
    /// Browsers that tests drive, and that packages fetch beside node_modules.
    pub test_browsers: Leave,
    /// Packs and files of fetches that git needs no more.
    pub git_garbage: Leave,
}

impl LeftoverSection {
    /// The same for every leftover.
    pub const fn all(leave: Leave) -> Self {
        Self {
            npm_cache: leave,
            node_gyp: leave,
            pnpm_metadata: leave,
            pnpm_store: leave,
            yarn_cache: leave,
            next_cache: leave,
            compiler_caches: leave,
            test_browsers: leave,
            git_garbage: leave,
        }
    }

    fn dropped(&self) -> impl Iterator<Item = &'static str> {
        let Self {
            npm_cache,
            node_gyp,
            pnpm_metadata,
            pnpm_store,
            yarn_cache,
            next_cache,
            compiler_caches,
            test_browsers,
            git_garbage,
        } = *self;
        [
            ("npm_cache", npm_cache),
            ("node_gyp", node_gyp),
            ("pnpm_metadata", pnpm_metadata),
            ("pnpm_store", pnpm_store),
            ("yarn_cache", yarn_cache),
            ("next_cache", next_cache),
            ("compiler_caches", compiler_caches),
            ("test_browsers", test_browsers),
            ("git_garbage", git_garbage),
        ]
        .into_iter()
        .filter_map(|(name, leave)| (leave == Leave::Drop).then_some(name))
    }
}

/// Removes what is not to be kept of the checkout at `path` and of the home, as far as it goes in time: it is a matter of size, and
/// no build is given up for it.
pub(super) async fn remove(sandbox: &Sandbox, path: &str, section: LeftoverSection) {
    let names = section.dropped().collect::<Vec<_>>().join(" ");
    let environment = Environment::new().with("HARVEST_PATH", path).with("HARVEST_DROP", names);
    match sandbox.short(Stage::Scrub, SCRIPT, &environment, SHORT).await {
        Ok(executed) if executed.exit_code == 0 => {}
        Ok(executed) => {
            tracing::warn!(code = executed.exit_code, "leftovers stay: {}", executed.result.trim());
        }
        // Whatever is wrong with the sandbox, the next step finds out.
        Err(failure) => tracing::warn!(failure = failure.message, "leftovers stay"),
    }
}
