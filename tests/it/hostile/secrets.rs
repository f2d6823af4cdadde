//! Repositories, and people who publish jobs, that ask for secrets that are not theirs.

use std::path::Path;
use std::process::Command;

use super::hosts::Host;
use super::row::{Must, Place, Row};
use crate::e2e::scene::Scene;

/// What is in the other team's repository, and nowhere else.
pub(super) const KEPT: &str = "what the other team keeps";
/// Names another repository's commit in the tree, as `git submodule add` does.
const LINK: &str = r#"
set -e
export GIT_DIR="$1" GIT_INDEX_FILE="$1/index-of-link" GIT_CONFIG_GLOBAL=/dev/null
git read-tree main
git update-index --add --cacheinfo "160000,$2,x"
commit=$(git -c user.name=a -c user.email=a@b.example commit-tree -p main -m submodule "$(git write-tree)")
git update-ref refs/heads/main "$commit"
"#;

/// Makes `x` in the repository a submodule at this commit.
pub(super) fn link_submodule(bare: &Path, commit: &str) {
    let status = Command::new("bash").args(["-c", LINK, "link"]).arg(bare).arg(commit).status().unwrap();
    assert!(status.success());
}

/// No rule gives it to the repository.
const NOT_ITS_OWN: Must = Must::Fail(&["secret.no_rule"], 1);
/// Nobody's build is given it.
const NOBODYS: Must = Must::Fail(&["install.secret_unavailable"], 1);

/// Writes the rules: the git token is for these repositories and for hosts that they once were on, the rest for one team each.
pub(super) fn give_owners(scene: &mut Scene, here: &str, once: [&Host; 2]) {
    let [moved, moved_for_git] = once.map(|host| &host.address);
    let rules = format!(
        "[secrets.GITHUB_TOKEN]\ngit = [\"{here}/acme/\", \"{moved}/\", \"{moved_for_git}/\"]\n\
         [secrets.NPM_TOKEN]\nrepositories = [\"{here}/acme/\"]\n\
         [secrets.OTHER_TEAM_TOKEN]\ngit = [\"{here}/others/\"]\nrepositories = [\"{here}/others/\"]\n"
    );
    scene.fleet.allow(&[]).unwrap();
    let settings = scene.fleet.directory().join("worker.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(settings, text + &rules).unwrap();
}

pub(super) fn rows() -> Vec<Row> {
    let asks = |name, tries, must, secrets| {
        Row::new(name, tries, must).asking(secrets).install("env | tell asked").naming(secrets)
    };
    vec![
        Row::new("secrets-hunt", "looks everywhere for the token that it was cloned with", Must::Build).install(
            r"
            look hunting
            git config --list --show-origin | tell settings
            cat .git/config .git/FETCH_HEAD .git/logs/* ~/.gitconfig ~/.netrc ~/.git-credentials 2>/dev/null | tell files
            find / -xdev -newermt '-1 hour' -type f -size -200k -not -path '/proc/*' -not -path '/usr/*' -print0 2>/dev/null | xargs -0 cat 2>/dev/null | tell everything",
        ),
        Row::new("secrets-submodule", "has another team's repository fetched as a submodule", Must::GainNothing)
            .file(".harvest.toml", "[checkout]\nsubmodules = true\n[commands]\n@COMMANDS@")
            .file(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = @OTHERS@\n")
            .install("cat x/others.txt | tell others"),
        asks("secrets-others", "asks for another team's secret", NOT_ITS_OWN, &["OTHER_TEAM_TOKEN"]),
        asks("secrets-git", "asks for the token of git", NOT_ITS_OWN, &["GITHUB_TOKEN"]),
        asks("secrets-session", "asks for the session's key", NOBODYS, &["ANTHROPIC_API_KEY"]),
        asks("secrets-broker", "asks for the broker's password", NOBODYS, &["RABBITMQ_PASSWORD"]),
        asks("secrets-telemetry", "asks for the collector's key", NOBODYS, &["OTEL_EXPORTER_OTLP_TRACES_HEADERS"]),
        Row::new("secrets-elsewhere", "is a job for another host, with another team's token", NOT_ITS_OWN).at(Place::Elsewhere).install("true"),
        Row::new("secrets-moved", "is on a host that redirects", Must::GainNothing).at(Place::Moved).install("true"),
        Row::new("secrets-moved-git", "is on a host that redirects git alone", Must::GainNothing).at(Place::MovedForGit).install("true"),
    ]
}
