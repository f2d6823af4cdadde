//! What a git host answered when it was asked for a branch's commit, or did not.

use job::{Failure, FailureKind, Scope};
use remote::HeadError;

/// The failure behind a refused look-up. `host` names the shared part; `token_secret` the variable that opens it.
pub(crate) fn from_head(error: &HeadError, host: &str, token_secret: &str) -> Failure {
    let text = error_chain::line(error);
    let shared = || Scope::GitHost(host.to_owned());
    match error {
        HeadError::BranchMissing { .. } => Failure::new(FailureKind::CloneBranchMissing, text),
        HeadError::RepositoryMissing { had_credential: true, .. } => Failure::new(
            FailureKind::CloneRepositoryMissing,
            format!("{text}; check its spelling, and that the token in {token_secret} may read it"),
        ),
        HeadError::RepositoryMissing { had_credential: false, .. } => Failure::new(
            FailureKind::CloneRepositoryMissing,
            format!("{text}; check its spelling, and set {token_secret} if it is private"),
        ),
        // A host says 401 to a bad token whatever is asked for: every target with that token fails alike.
        HeadError::Unauthorized { status: 401, had_credential: true, .. } => {
            Failure::new(FailureKind::CloneAuth, format!("{text}; the token in {token_secret} is not valid"))
                .with_scope(shared())
        }
        HeadError::Unauthorized { had_credential: true, .. } => Failure::new(
            FailureKind::CloneAuth,
            format!("{text}; the token in {token_secret} may not read this repository"),
        ),
        HeadError::Unauthorized { had_credential: false, .. } => Failure::new(
            FailureKind::CloneAuth,
            format!("{text}; set {token_secret} to a token that may read it"),
        ),
        HeadError::RateLimited { after, .. } => {
            Failure::new(FailureKind::CloneRateLimited, text).with_scope(shared()).retry_after(*after)
        }
        HeadError::HostUnavailable { .. } => {
            Failure::new(FailureKind::CloneHostUnavailable, text).with_scope(shared())
        }
        HeadError::Refused { .. }
        | HeadError::Undecodable { .. }
        | HeadError::TooLarge { .. }
        | HeadError::Redirected { .. }
        | HeadError::GitMissing { .. }
        | HeadError::GitFailed { .. } => Failure::new(FailureKind::CloneFailed, text),
        HeadError::Moved { to, .. } => Failure::new(
            FailureKind::CloneMoved,
            format!("{text}; if that is right, name {to} in fleet.toml (name or clone_url)"),
        ),
        HeadError::UnusableUrl { .. } => Failure::new(
            FailureKind::CloneRepositoryMissing,
            format!("{text}; correct clone_url in fleet.toml"),
        ),
    }
}
