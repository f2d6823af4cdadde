//! The wanted commit on its branch under `/workspace/<name>`, with a clean remote.
//!
//! The token reaches git through the environment of this one command: as a header for the repository's own URL, and from a
//! credential helper that answers for exactly the URLs which fleet.toml names. It follows no redirect. Everything a repository
//! or a settings file can name travels in variables; the script is a constant. Safe to run again with other settings.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use job::{
    CheckoutSettings, Commit, Failure, FailureKind, RepositoryUrl, Settings, Stage, Target, UrlScheme,
};
use remote::Credential;
use secrecy::{ExposeSecret, SecretString};

use crate::early_end::{EarlyEnd, ResolveAgain};
use crate::failures::from_git;
use crate::sandbox::{Environment, FinishedCommand, LongCommand, Sandbox};

const SCRIPT: &str = include_str!("checkout/checkout.sh");
/// The user that hosts expect beside a token when none was given.
const TOKEN_USER: &str = "x-access-token";
/// The script's exit code when the host does not give the wanted commit away.
const COMMIT_GONE: i32 = 90;
/// The script's exit code when submodules or LFS objects are missing.
const INCOMPLETE: i32 = 92;
/// The script's exit code when a submodule's own git folder could not be told from git's data.
const UNTELLABLE: i32 = 93;

/// A checkout that lies in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOut {
    /// The folder of the checkout, an absolute path.
    pub path: String,
}

/// Where a target's checkout lies.
pub fn path_of(target: &Target) -> String {
    format!("/workspace/{}", target.name())
}

/// Checks the commit out, or brings an earlier checkout to it.
pub async fn run(
    sandbox: &Sandbox,
    target: &Target,
    settings: &Settings,
    commit: &Commit,
    credential: Option<&Credential>,
) -> Result<CheckedOut, EarlyEnd> {
    let path = path_of(target);
    let deadline = settings.timeouts.checkout;
    let environment = with_credential(environment(target, settings, commit, &path), settings, credential);
    let command = LongCommand {
        stage: Stage::Checkout,
        label: "git",
        script: SCRIPT.to_owned(),
        cwd: "/workspace".to_owned(),
        environment,
        deadline,
    };
    let end = sandbox.run(&command).await?;
    let finished = end.into_finished(&command, sandbox.least_free_bytes());
    let FinishedCommand { code, tail } = finished.map_err(as_clone_timeout)?;
    match code {
        0 => Ok(CheckedOut { path }),
        COMMIT_GONE => Err(ResolveAgain::CommitGone.into()),
        UNTELLABLE => {
            let text = "a submodule is named like a folder in which git keeps its data (…/objects or …/lfs), which this version cannot put back; give it another name in .gitmodules";
            Err(Failure::new(FailureKind::DetectUnsupported, text)
                .at(Stage::Checkout)
                .with_output(Some(code), tail)
                .into())
        }
        code => {
            let otherwise =
                if code == INCOMPLETE { FailureKind::CloneIncomplete } else { FailureKind::CloneFailed };
            let failure = from_git(&tail, otherwise, target.host(), &settings.clone.token_secret);
            Err(as_refused_to_others(failure, otherwise, settings).with_output(Some(code), tail).into())
        }
    }
}

/// A refusal met after the repository's own commit was there is about another repository, which gets no token unasked.
fn as_refused_to_others(failure: Failure, otherwise: FailureKind, settings: &Settings) -> Failure {
    if otherwise != FailureKind::CloneIncomplete || failure.id != FailureKind::CloneAuth {
        return failure;
    }
    let token = &settings.clone.token_secret;
    let advice = "the git token goes to submodules and LFS objects of another repository only where fleet.toml names its URL";
    let text = format!("{}; {advice}: add it to checkout.also, if {token} may read it", failure.message);
    Failure { message: job::truncate(&text, Failure::MAX_MESSAGE), ..failure }
}

/// A fetch that took too long has an id of its own.
fn as_clone_timeout(failure: Failure) -> Failure {
    if failure.id == FailureKind::StageDeadline {
        Failure { id: FailureKind::CloneTimeout, ..failure }
    } else {
        failure
    }
}

fn environment(target: &Target, settings: &Settings, commit: &Commit, path: &str) -> Environment {
    let CheckoutSettings { filter, sparse, lfs, submodules, also: _ } = &settings.checkout;
    let yes = |wanted: bool| if wanted { "yes" } else { "" };
    let mut folders = String::new();
    for folder in sparse {
        folders.push_str(folder);
        folders.push('\n');
    }
    let variables: BTreeMap<String, String> = [
        ("HARVEST_URL", settings.clone.url.as_str()),
        ("HARVEST_BRANCH", target.branch()),
        ("HARVEST_COMMIT", commit.as_str()),
        ("HARVEST_PATH", path),
        ("HARVEST_FILTER", filter.as_deref().unwrap_or_default()),
        ("HARVEST_SPARSE", folders.as_str()),
        ("HARVEST_LFS", yes(*lfs)),
        ("HARVEST_SUBMODULES", yes(*submodules)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    Environment::of(variables, BTreeMap::new())
}

/// The token for the script, and for which URLs it is; none of it is written anywhere.
///
/// A URL that could be read in two ways gets none: what is right of it by one reading may be another repository by the other.
fn with_credential(
    environment: Environment,
    settings: &Settings,
    credential: Option<&Credential>,
) -> Environment {
    let own = settings.clone.url.parse::<RepositoryUrl>().ok();
    let own = own.filter(|url| matches!(url.scheme(), UrlScheme::Https | UrlScheme::Http));
    let (Some(own), Some(Credential { user, token })) = (own, credential) else { return environment };
    let also = settings.checkout.also.iter().filter_map(|url| url.parse::<RepositoryUrl>().ok());
    let named: Vec<String> = std::iter::once(own).chain(also).map(|url| url.to_string()).collect();
    let user = user.as_deref().unwrap_or(TOKEN_USER);
    let basic = STANDARD.encode(format!("{user}:{}", token.expose_secret()));
    environment
        .with("HARVEST_TOKEN_USER", user)
        .with("HARVEST_TOKEN_URLS", named.join("\n"))
        .with_secret("HARVEST_TOKEN", token.clone())
        .with_secret("HARVEST_TOKEN_HEADER", SecretString::from(format!("Authorization: Basic {basic}")))
}
