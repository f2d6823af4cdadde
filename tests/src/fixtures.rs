//! The sample repositories under `fixtures/repositories`: small real Node projects, each of which stands for one way a
//! repository behaves. Tests name them by variant, so a renamed folder is found by the compiler.

use std::path::{Path, PathBuf};

/// One sample repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sample {
    /// npm, a few tiny dependencies, a build script that fills `dist/`.
    NpmService,
    /// A pnpm workspace of two packages with `packageManager: pnpm@9.15.4`; one depends on the other's build.
    PnpmWorkspace,
    /// `.nvmrc` says 18.20.8; the build writes the version that ran it to `dist/node-version.txt`.
    PinnedNode,
    /// Installs, but its build script ends with a compiler's error: partial.
    BrokenBuild,
    /// Needs `left-pad@99.99.99`, which does not exist: the repository's fault, for good, at install (`ETARGET`).
    BrokenLockfile,
    /// A project without a lockfile.
    NoLockfile,
    /// `package.json` gained a dependency that the lockfile lacks: `npm ci` refuses (`EUSAGE`), `npm install` works.
    OutOfSyncLockfile,
}

impl Sample {
    pub const ALL: [Self; 7] = [
        Self::NpmService,
        Self::PnpmWorkspace,
        Self::PinnedNode,
        Self::BrokenBuild,
        Self::BrokenLockfile,
        Self::NoLockfile,
        Self::OutOfSyncLockfile,
    ];

    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NpmService => "npm-service",
            Self::PnpmWorkspace => "pnpm-workspace",
            Self::PinnedNode => "pinned-node",
            Self::BrokenBuild => "broken-build",
            Self::BrokenLockfile => "broken-lockfile",
            Self::NoLockfile => "no-lockfile",
            Self::OutOfSyncLockfile => "out-of-sync-lockfile",
        }
    }

    /// Where its files are.
    pub fn path(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/repositories").join(self.name())
    }
}
