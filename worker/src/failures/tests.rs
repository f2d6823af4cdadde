//! Every table on one page: what each error of each source means, one snapshot.

use std::time::Duration;

use ::daytona::{ErrorKind, SandboxState};
use job::{Blame, Failure, FailureKind, Scope, Stage, Tail};
use remote::{Garbled, HeadError, Outage, ShownUrl, Unusable};

use super::program_output::table::{Meaning, TABLE};
use super::*;
use crate::early_end::EarlyEnd;

/// All variants of an enum without fields; one that is missing does not compile.
macro_rules! every {
    ($type:ident: $($variant:ident)+) => {{
        fn is_listed(value: $type) {
            match value { $($type::$variant => (),)+ }
        }
        let all = [$($type::$variant),+];
        all.iter().copied().for_each(is_listed);
        all
    }};
}

fn id_and_scope(failure: &Failure) -> String {
    let scope = match &failure.scope {
        Scope::Target => "",
        Scope::Daytona => " (Daytona)",
        Scope::Broker => " (broker)",
        Scope::GitHost(_) => " (git host)",
        Scope::Registry => " (registry)",
    };
    format!("{}{scope}", failure.id)
}

fn error_kinds() -> [ErrorKind; 25] {
    every!(ErrorKind:
        NotFound NameTaken StateChanging Conflict WrongState StartFailed RateLimited Capacity SandboxQuota SandboxTooLarge
        SnapshotQuota Suspended Unauthorized Forbidden InvalidRequest SnapshotNotFound SnapshotNotActive SnapshotNotInRegion RegionMissing
        Unsupported CommandTimedOut Unavailable Timeout Undecodable TooLarge)
}

/// By kind of error: the API, the toolbox, and what the API's message adds.
fn daytona_and_toolbox() -> String {
    let row = |kind| {
        let (api, advice) = match daytona::end(kind, "", None, Stage::Capture) {
            EarlyEnd::Outcome(outcome) => match outcome.failure() {
                Some(failure) => (id_and_scope(failure), failure.message.clone()),
                None => (outcome.word().to_string(), String::new()),
            },
            EarlyEnd::ResolveAgain(reason) => (format!("{reason:?}"), String::new()),
        };
        let toolbox = id_and_scope(&toolbox::failure(kind, "", None, Stage::Capture));
        line([format!("{kind:?}"), api, toolbox, advice])
    };
    error_kinds().map(row).join("\n")
}

/// One row of a table, its columns below each other.
fn line<const N: usize>(columns: [String; N]) -> String {
    columns.map(|column| format!("{column:<40}")).concat().trim_end().to_owned()
}

/// By error of a look-up.
fn git_host() -> String {
    let url = || ShownUrl::of(&"https://git.example/owner/name.git".parse().unwrap());
    let missing = |had_credential| HeadError::RepositoryMissing { url: url(), status: 404, had_credential };
    let refused = |status, had_credential| HeadError::Unauthorized { url: url(), status, had_credential };
    let errors = [
        missing(true),
        missing(false),
        refused(401, true),
        refused(401, false),
        refused(403, true),
        refused(403, false),
        HeadError::BranchMissing { url: url(), branch: "main".to_owned() },
        HeadError::RateLimited { url: url(), status: 429, after: Some(Duration::from_secs(7)) },
        HeadError::HostUnavailable { url: url(), cause: Outage::Status(503) },
        HeadError::Refused { url: url(), message: "no".to_owned() },
        HeadError::Undecodable { url: url(), what: Garbled::NotGit },
        HeadError::TooLarge { url: url(), limit: 7 },
        HeadError::Moved {
            url: url(),
            to: ShownUrl::of(&"https://git.example/new/name.git".parse().unwrap()),
        },
        HeadError::Redirected { url: url() },
        HeadError::UnusableUrl { url: url(), why: Unusable::Scheme },
        HeadError::GitMissing { url: url(), source: std::io::ErrorKind::NotFound.into() },
        HeadError::GitFailed { url: url(), message: "no".to_owned() },
    ];
    let row = |error: HeadError| {
        let failure = from_head(&error, "git.example", "GITHUB_TOKEN");
        let wait = failure.retry_after.map_or(String::new(), |after| format!(" after {after:?}"));
        format!("{}{wait}: {}", id_and_scope(&failure), failure.message)
    };
    errors.map(row).join("\n")
}

/// By meaning of a program's last line: what it is in each stage that reads one.
fn program_output() -> String {
    let meanings = every!(Meaning:
        OutOfMemory NoSpace LockfileOutOfSync VersionMissing Checksum Incompatible InvalidManifest RateLimited Auth
        PackageMissing ScriptFailed Moved Unavailable);
    let columns = ["", "checkout", "submodules, LFS", "toolchain", "install", "build"];
    let row = |meaning| {
        let mut all = TABLE.iter().filter(|row| row.meaning == meaning).map(|row| {
            let tail = Tail::of(&row.parts.join(" "));
            let git = |otherwise| id_and_scope(&from_git(&tail, otherwise, "git.example", "GITHUB_TOKEN"));
            [
                format!("{meaning:?}"),
                git(FailureKind::CloneFailed),
                git(FailureKind::CloneIncomplete),
                id_and_scope(&from_toolchain(&tail, "Node")),
                id_and_scope(&from_install(&tail)),
                id_and_scope(&from_build(&tail)),
            ]
        });
        let first = all.next().unwrap();
        assert!(all.all(|other| other == first), "a row of {meaning:?} is hidden by one above it");
        first
    };
    let rows = meanings.map(row).map(line).join("\n");
    format!("{}\n{rows}", line(columns.map(str::to_owned)))
}

/// By kind of error of the toolbox and what the API says of the sandbox: what is believed from install on.
fn claims() -> String {
    let state = |state| ApiAnswer::State(state, None);
    let failed = |kind| ApiAnswer::Failed(daytona::failure(kind, "", None, Stage::Build));
    let answers = [
        state(SandboxState::Started),
        state(SandboxState::Stopped),
        state(SandboxState::Error),
        ApiAnswer::Gone,
        failed(ErrorKind::Unavailable),
        failed(ErrorKind::Unauthorized),
    ];
    let head =
        ["", "before install", "started", "stopped", "error", "gone", "API unavailable", "API: wrong key"];
    let row = |kind| {
        let claim = |stage| toolbox::failure(kind, "", None, stage);
        let (before, claimed) = (claim(Stage::Toolchain), claim(Stage::Build));
        assert!(!is_claim(&before), "{before:?}: nothing of the repository's has run yet");
        let mut cells = vec![format!("{kind:?}"), id_and_scope(&before)];
        cells.extend(answers.clone().map(|answer| {
            let believed = if is_claim(&claimed) { believe(&claimed, answer) } else { claimed.clone() };
            assert_eq!(believed.stage, Stage::Build);
            id_and_scope(&believed)
        }));
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<32}")).collect();
        cells.concat().trim_end().to_owned()
    };
    let head: String = head.map(|cell| format!("{cell:<32}")).concat();
    format!("{}\n{}", head.trim_end(), error_kinds().map(row).join("\n"))
}

#[test]
fn nothing_a_sandbox_says_after_install_is_free_or_shared() {
    for failure in TABLE.iter().flat_map(|row| {
        let tail = Tail::of(&row.parts.join(" "));
        [from_install(&tail), from_build(&tail)]
    }) {
        assert_eq!(failure.scope, Scope::Target, "{failure:?}");
        assert_ne!(failure.blame(), Blame::Capacity, "{failure:?}");
    }
}

#[test]
fn what_every_error_of_every_source_means() {
    let page = format!(
        "Daytona, by kind of error: its API, the toolbox of a sandbox\n{}\n\nA git host, by error\n{}\n\nPrograms, by what their last line means\n{}\n\nA sandbox's own word from install on, by kind of error: what is believed, by what Daytona's API says\n{}",
        daytona_and_toolbox(),
        git_host(),
        program_output(),
        claims()
    );
    insta::assert_snapshot!(page);
}
