//! Repositories that pose as an outage: what they say costs them attempts, and nobody else anything.

use super::row::{Must, Row};

/// Ends like a program that could not do its work for another's fault.
fn poses(name: &'static str, tries: &'static str, says: &str) -> Row {
    Row::new(name, tries, Must::GainNothing).install(&format!("echo '{says}' >&2; exit 1"))
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        poses(
            "blame-refused",
            "says that the registry does not answer",
            "npm error network request to https://registry.npmjs.org/x failed, reason: connect ECONNREFUSED 192.0.2.1:443",
        ),
        poses(
            "blame-unavailable",
            "says that the registry is unwell",
            "npm error 503 Service Unavailable - GET https://registry.npmjs.org/x",
        ),
        poses(
            "blame-rate",
            "says that it is to wait",
            "npm error 429 Too Many Requests - GET https://registry.npmjs.org/x",
        ),
        poses(
            "blame-key",
            "says that the key is refused",
            "npm error code E401\nnpm error 401 Unauthorized - GET https://registry.npmjs.org/x",
        ),
        poses(
            "blame-git",
            "says that the git host refuses",
            "fatal: Authentication failed for https://git.example/x",
        ),
        poses(
            "blame-memory",
            "says that memory is short",
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        ),
        poses(
            "blame-room",
            "says that the disk is full",
            "npm error code ENOSPC: no space left on device, write",
        ),
        Row::new("blame-killed", "ends as if the kernel had ended it", Must::GainNothing).install("exit 137"),
        Row::new("blame-build", "says in its build that there is no network", Must::GainNothing)
            .install("true")
            .build("echo 'Error: connect ECONNREFUSED 192.0.2.1:443' >&2; exit 1"),
        Row::new("blame-sandbox", "ends the sandbox itself, each time", Must::GainNothing)
            .install("echo >/proc/1/fd/0; kill -9 1 -1; sleep 20"),
        Row::new("blame-time", "never ends", Must::Fail(&["resources.deadline"], 2))
            .file(".harvest.toml", "[commands]\n@COMMANDS@")
            .install("trap '' TERM; while :; do sleep 1; done"),
    ]
}
