//! What a session that starts from a survivor meets, before it runs any of the repository's code itself: files as an honest
//! repository leaves them, and tokens that nothing planted gets to see.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use daytona::{CreateOutcome, Execute, NewSandbox, Toolbox, pace};
use fleet_tests::image_tools;
use job::{AttemptEnd, Completeness};
use secrecy::SecretString;

use super::row::Row;
use super::scene::Yard;
use crate::e2e::scene::SOON;

/// What steers git, shells and other programs of a session, a line each; by the image's programs alone.
const LOOK: &str = r#"exec /usr/bin/env -i HOME="$HOME" PATH=/usr/bin:/bin NAME="$NAME" /bin/bash --noprofile --norc -c '
cd "/workspace/$NAME" || echo "no checkout"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
git config --file .git/config --list | sort | sed "s/^/config /"
printf "head %s\n" "$(cat .git/HEAD)"
git ls-files -v | grep -v "^H " | sed "s/^/index /"
for part in config.worktree commondir info/attributes info/grafts objects/info/alternates refs/replace hooks worktrees modules; do
    for file in $(find ".git/$part" -type f ! -name "*.sample" 2>/dev/null); do echo "git $file"; done
done
[ -d .git ] && [ ! -L .git ] || echo "git is no folder"
cd "$HOME" || exit
find . -maxdepth 3 \( -path ./.cache -o -path ./.npm -o -path ./.harvest/toolchains \) -prune -o \( -type f -o -type l \) -print | sort | while IFS= read -r file; do
    case $file in
    ./.bash* | ./.profile | ./.z* | ./.git* | ./.config/* | ./.npmrc | ./.netrc | ./.ssh/* | ./.claude* | ./.mcp-memory/* | ./.docker/* | ./.gnupg/*)
        printf "home %s %s\n" "$file" "$(sha256sum <"$file" 2>/dev/null | cut -c 1-12)" ;;
    ./.harvest/bin/* | ./.local/bin/* | ./bin/* | ./.npm-global/bin/*)
        [ -e "/usr/bin/${file##*/}" ] && case ${file##*/} in node | npm | npx) ;; *) echo "shadow $file" ;; esac ;;
    esac
done
grep -rlaF planted-here --exclude-dir=objects .config .ssh .claude .mcp-memory .npmrc .netrc .local .harvest/bin bin "/workspace/$NAME/.git" .[a-z]*rc .[a-z]*profile 2>/dev/null | sed "s/^/planted /"
find /workspace/.harvest -type l -o -perm 000 | sed "s/^/odd /"
ls -d /tmp/harvest-run 2>/dev/null
exit 0
' </dev/null"#;

/// What the start of a session runs by names and by paths, with the tokens in its environment.
const BEGIN: &str = r#"cd "/workspace/$NAME" || exit 1
for shell in "bash -c" "bash -lc" "bash -ic" "sh -c" "sh -lc" "/bin/bash -lc"; do $shell true </dev/null; done
for call in status "fetch --quiet" "log -1" "diff" "stash list" "checkout --quiet ." "ls-files" "branch" "remote -v"; do
    git $call </dev/null
    /usr/bin/git $call </dev/null
done
cat README.md; grep -r nothing README.md; ls; env; sed -n 1p README.md; date
exit 0"#;

/// harvest-sync as the runtime starts it, and what follows with the credentials that it has set up.
const SYNC: &str = r"/opt/harvest/bin/harvest-sync --json --no-install </dev/null";
const AFTER: &str = r#"cd "/workspace/$NAME" || exit 1
git fetch --quiet </dev/null || exit 2
git -c user.name=a -c user.email=a@b.example commit --quiet --allow-empty --message work </dev/null || exit 3
git status >/dev/null </dev/null || exit 4
exit 0"#;

/// What steers a session's programs.
pub(super) type Seen = BTreeSet<String>;

impl Yard {
    /// Starts a session from the row's prebuild, and says what is wrong with it.
    pub(super) async fn session_from(&self, row: &Row, end: &AttemptEnd) -> Vec<String> {
        let _turn = self.sessions.acquire().await.unwrap();
        let mut complaints = Vec::new();
        let target = &end.target;
        let state = self.scene.state(target).await;
        let Some(prebuild) = state.promoted else { return vec!["nothing is promoted".to_owned()] };
        if prebuild.attempt != end.attempt || !prebuild.flags.is_empty() {
            complaints.push(format!("the register has {:?} of attempt {}", prebuild.flags, prebuild.attempt));
        }
        let partial = end.failure.is_some();
        if (prebuild.completeness == Completeness::Partial) != partial {
            complaints.push(format!("the register says {}", prebuild.completeness));
        }
        // The session's own token opens the repository now, and there is something to fetch.
        let token = &self.tokens[0].1;
        self.scene.git.require_token(&row.repository(), token).unwrap();
        self.scene.git.commit(&row.repository(), "main", &[("later.txt", "later\n")]).await.unwrap();

        let wish = NewSandbox::new(format!("session-{}", row.name), &prebuild.snapshot_id);
        let created = self.scene.daytona.create_sandbox(&wish).await;
        let Ok(CreateOutcome::Created(sandbox)) = created else {
            complaints.push(format!("no sandbox from it: {created:?}"));
            return complaints;
        };
        let deadline = tokio::time::Instant::now() + SOON;
        match self.scene.daytona.wait_until_started(&sandbox.id, deadline, pace::COLD_START).await {
            Ok(started) => {
                let toolbox = self.scene.daytona.toolbox(&started).await.unwrap();
                complaints.extend(self.work_in(row, &toolbox).await);
            }
            Err(error) => complaints.push(format!("its sandbox does not start: {error:?}")),
        }
        let deadline = tokio::time::Instant::now() + SOON;
        self.scene.daytona.delete_and_confirm(&sandbox.id, deadline).await.unwrap();
        complaints
    }

    async fn work_in(&self, row: &Row, toolbox: &Toolbox) -> Vec<String> {
        let mut complaints = Vec::new();
        let before = self.ear.count(row.name, "");
        let (_, seen) = self.run(toolbox, row, LOOK, false).await;
        let seen: Seen = seen.lines().map(|line| line.replace(row.name, "NAME")).collect();
        self.seen.lock().unwrap().insert(row.name, seen);
        self.run(toolbox, row, BEGIN, true).await;
        let (code, said) = self.run(toolbox, row, SYNC, true).await;
        if code != 0 || !said.contains("\"moved\":true") {
            complaints.push(format!("harvest-sync ended with {code}: {said}"));
        }
        let (code, said) = self.run(toolbox, row, AFTER, true).await;
        if code != 0 {
            complaints.push(format!("git does not work after harvest-sync: {code} {said}"));
        }
        // What this session tells is heard, and nothing else was.
        let canary = ". \"/workspace/$NAME/prelude.sh\" && echo canary | tell canary";
        self.run(toolbox, row, &format!("exec /bin/bash --noprofile --norc -c '{canary}'"), false).await;
        let told = fleet_tests::eventually::within(SOON, "the canary is heard", async || {
            let count = self.ear.count(row.name, "canary");
            if count == 1 { Ok(()) } else { Err(count) }
        });
        if let Err(never) = told.await {
            complaints.push(never.to_string());
        }
        let after = self.ear.heard().into_iter().filter(|told| told.row == row.name).skip(before);
        let ran: BTreeSet<String> = after.map(|told| told.label).filter(|label| label != "canary").collect();
        if !ran.is_empty() {
            complaints.push(format!("in a session's start these ran: {ran:?}"));
        }
        complaints
    }

    /// What steers the session of a hostile repository and not that of an honest one.
    pub(super) fn compare_sessions(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let Some(honest) = seen.get("control-honest") else {
            return vec!["no session of an honest repository".to_owned()];
        };
        let odd = seen.iter().filter(|(_, seen)| *seen != honest).map(|(name, seen)| {
            let differing: Vec<_> = seen.symmetric_difference(honest).collect();
            format!(
                "{name}: its session finds what an honest repository's does not, or lacks it: {differing:?}"
            )
        });
        odd.collect()
    }

    async fn run(&self, toolbox: &Toolbox, row: &Row, command: &str, with_tokens: bool) -> (i32, String) {
        let tokens = self.tokens.iter().filter(|_| with_tokens);
        let given = tokens.map(|(name, value)| ((*name).to_owned(), SecretString::from(value.clone())));
        let name = [("NAME".to_owned(), SecretString::from(row.name))];
        let execute = Execute { envs: given.chain(name).collect(), ..Execute::new(command, SOON) };
        match toolbox.execute(&execute).await {
            Ok(executed) => (executed.exit_code, executed.result),
            Err(error) => (-1, format!("{error:?}")),
        }
    }
}

/// `/opt/harvest` as sandboxes see it: the repository's own scripts, and this machine's Node.
pub(super) fn tools_of_the_image(directory: &Path) -> PathBuf {
    let image = directory.join("opt-harvest");
    std::fs::create_dir_all(&image).unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/bin");
    let copied = Command::new("cp").arg("-r").arg(own).arg(image.join("bin")).status().unwrap();
    assert!(copied.success());
    let node =
        if image_tools::exposed().unwrap().is_empty() { "/usr/bin/node" } else { "/usr/local/bin/node" };
    symlink(node, image.join("bin/node")).unwrap();
    image
}
