//! The rows: a meaning, and parts that a line must hold (compared without case). The order is the precedence.

/// What a line says went wrong, whichever program printed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::failures) enum Meaning {
    OutOfMemory,
    NoSpace,
    LockfileOutOfSync,
    VersionMissing,
    Checksum,
    Incompatible,
    InvalidManifest,
    RateLimited,
    Auth,
    PackageMissing,
    ScriptFailed,
    Moved,
    Unavailable,
}

/// One text of one program, and what it means.
pub(in crate::failures) struct Row {
    pub(in crate::failures) meaning: Meaning,
    /// In lower case; a line must hold all of them.
    pub(in crate::failures) parts: &'static [&'static str],
}

impl Row {
    pub(in crate::failures) fn matches(&self, line: &str) -> bool {
        let line = line.to_ascii_lowercase();
        self.parts.iter().all(|part| line.contains(part))
    }
}

macro_rules! table {
    ($($meaning:ident: $([$($part:literal),+])+;)+) => {
        pub(in crate::failures) const TABLE: &[Row] = &[$($(Row { meaning: Meaning::$meaning, parts: &[$($part),+] },)+)+];
    };
}

table! {
    OutOfMemory:
        ["javascript heap out of memory"] ["signal sigkill"] ["cannot allocate memory"] ["enomem"] ["out of memory, malloc failed"];
    NoSpace:
        ["enospc"] ["no space left on device"] ["disk quota exceeded"];
    LockfileOutOfSync:
        ["missing: ", " from lock file"] ["invalid: lock file's"]
        ["`npm ci` can only install packages when your package.json"]
        ["`npm ci` command can only install with an existing"]
        ["err_pnpm_outdated_lockfile"] ["err_pnpm_no_lockfile"] ["err_pnpm_broken_lockfile"]
        ["err_pnpm_lockfile_config_mismatch"] ["err_pnpm_lockfile_missing_dependency"] ["err_pnpm_lockfile_breaking_change"];
    VersionMissing:
        ["no matching version found for"] ["err_pnpm_no_matching_version"] ["code etarget"];
    Checksum:
        ["integrity checksum failed"] ["err_pnpm_tarball_integrity"] ["code eintegrity"];
    Incompatible:
        ["eresolve unable to"] ["eresolve could not"] ["code eresolve"] ["unsupported platform for"] ["not compatible with your version of node"] ["code ebadengine"]
        ["code ebaddevengines"] ["err_pnpm_unsupported_engine"] ["err_pnpm_unsupported_platform"] ["err_pnpm_bad_pm_version"]
        ["err_pnpm_peer_dep_issues"] ["unsupported url type"] ["err_pnpm_ignored_builds"] ["code eallowgit"] ["code eallowremote"];
    InvalidManifest:
        ["invalid package.json"] ["in json at position"] ["failed to parse json data"] ["err_pnpm_json_parse"] ["code einvalidpackagename"];
    RateLimited:
        ["429 too many requests"] ["err_pnpm_fetch_429"] ["requested url returned error: 429"];
    Auth:
        ["401 unauthorized"] ["403 forbidden"] ["err_pnpm_fetch_401"] ["err_pnpm_fetch_403"] ["code eneedauth"] ["code e401"]
        ["could not read username"] ["could not read password"] ["authentication failed"] ["invalid username or"]
        ["permission denied (publickey"] ["requested url returned error: 401"] ["requested url returned error: 403"]
        ["http basic: access denied"];
    PackageMissing:
        ["404 not found -"] ["err_pnpm_fetch_404"] ["is not in this registry"] ["err_pnpm_workspace_pkg_not_found"]
        ["repository", "not found"] ["requested url returned error: 404"] ["does not appear to be a git repository"]
        ["err_pnpm_no_versions"] ["err_pnpm_linked_pkg_dir_not_found"];
    Moved:
        ["fatal: moved: "] ["requested url returned error: 301"] ["requested url returned error: 302"]
        ["requested url returned error: 303"] ["requested url returned error: 307"] ["requested url returned error: 308"];
    Unavailable:
        ["fatal: unable to access"] ["could not resolve host"] ["the remote end hung up unexpectedly"] ["early eof"] ["rpc failed"];
    ScriptFailed:
        ["npm error command sh -c"] ["npm err! command sh -c"] ["elifecycle"] ["npm error command failed"] ["npm err! command failed"];
    Unavailable:
        ["err_pnpm_meta_fetch_fail"] ["err_pnpm_fetch_5"] ["failed, reason:"] ["500 internal server error"] ["502 bad gateway"]
        ["503 service unavailable"] ["504 gateway time-out"] ["504 gateway timeout"]
        ["econnreset"] ["econnrefused"] ["etimedout"] ["eai_again"] ["enotfound"] ["epipe"] ["socket hang up"]
        ["err_socket_timeout"] ["und_err_connect_timeout"] ["network socket disconnected"] ["unable to get local issuer certificate"]
        ["self-signed certificate"] ["self signed certificate"] ["connection timed out"] ["fetch failed"];
}
