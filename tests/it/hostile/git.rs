//! What a build can leave in a checkout's `.git` for git to run or to follow: all of it is put back before the capture.

use super::row::{Must, Row};

/// Every hook that githooks(5) lists.
const HOOKS: &str = "applypatch-msg pre-applypatch post-applypatch pre-commit pre-merge-commit prepare-commit-msg commit-msg post-commit pre-rebase post-checkout post-merge pre-push pre-receive update proc-receive post-receive post-update reference-transaction push-to-checkout pre-auto-gc post-rewrite sendemail-validate fsmonitor-watchman post-index-change";

fn plants(name: &'static str, tries: &'static str, script: &str) -> Row {
    Row::new(name, tries, Must::Build).install(script)
}

/// What is the repository's own doing and no way to leave anything.
const REFUSED: Must = Must::Fail(&["scrub.tampered", "verify.mismatch", "scrub.failed"], 1);

pub(super) fn rows() -> Vec<Row> {
    let mut rows = settings();
    rows.extend(elsewhere());
    rows.extend(history());
    rows
}

fn settings() -> Vec<Row> {
    vec![
        plants(
            "git-filter",
            "has files written through a filter",
            r#"
            git config filter.x.smudge "$(spy smudge); cat"; git config filter.x.clean "$(spy clean); cat"
            git config filter.x.process "$(spy process)"; git config diff.x.textconv "$(spy textconv)"
            mkdir -p .git/info; echo '* filter=x diff=x' >.git/info/attributes"#,
        ),
        plants(
            "git-hooks",
            "leaves every hook there is",
            &format!(
                r#"
                mkdir -p .git/hooks other-hooks
                for hook in {HOOKS}; do
                    printf '#!/bin/bash\n. %s/prelude.sh; look planted-here-%s\n' "$here" "$hook" | tee ".git/hooks/$hook" >"other-hooks/$hook"
                    chmod 755 ".git/hooks/$hook" "other-hooks/$hook"
                done
                git config core.hooksPath "$here/other-hooks""#
            ),
        ),
        plants(
            "git-programs",
            "names programs that git runs",
            r#"
            for key in core.fsmonitor core.sshCommand core.pager core.editor core.askPass diff.external gpg.program sequence.editor credential.helper \
                alias.st pager.log pager.diff uploadpack.packObjectsHook remote.origin.uploadpack remote.origin.receivepack; do
                git config "$key" "$(spy "$key")"
            done
            git config alias.st "!$(spy alias)"; git config credential.helper "!$(spy credential)"
            git config "credential.http://127.0.0.1.helper" "!$(spy credential-url)""#,
        ),
        plants(
            "git-instead",
            "sends fetches and pushes somewhere else",
            r#"
            url=$(git config remote.origin.url)
            git config "url.http://127.0.0.1:@PORT@/.insteadOf" "${url%/acme/*}/"
            git config "url.http://127.0.0.1:@PORT@/push/.pushInsteadOf" "${url%/acme/*}/"
            git config remote.origin.pushurl "http://127.0.0.1:@PORT@/x.git"
            git config http.proxy "http://127.0.0.1:@PORT@"; git config http.sslVerify false
            git config remote.origin.proxy "http://127.0.0.1:@PORT@""#,
        ),
        plants(
            "git-include",
            "has git read settings from elsewhere",
            r#"
            printf '[core]\n\tfsmonitor = %s\n# planted-here\n' "$(spy include)" >~/included
            git config include.path ~/included; git config "includeIf.gitdir:/.path" ~/included"#,
        ),
        plants(
            "git-rewritten-config",
            "replaces the settings by a link to its own",
            r#"
            cp .git/config ~/own-config; git config --file ~/own-config core.fsmonitor "$(spy link)"
            rm .git/config; ln -s ~/own-config .git/config"#,
        ),
        plants(
            "git-config-pipe",
            "puts a pipe and folders where settings are",
            "rm .git/config; mkfifo .git/config; rm -rf .git/info; mkfifo .git/info; rm -rf .git/hooks; ln -s /tmp .git/hooks",
        ),
    ]
}

fn elsewhere() -> Vec<Row> {
    vec![
        plants("git-worktree", "names another folder as the work tree", "mkdir ~/tree; git config core.worktree ~/tree; git config core.bare false"),
        plants(
            "git-worktree-config",
            "has a second file of settings",
            r#"
            git config extensions.worktreeConfig true
            git config --worktree core.fsmonitor "$(spy worktree)"; git config --worktree core.hooksPath ~/hooks"#,
        ),
        plants(
            "git-common",
            "says that the repository is a part of another",
            r#"
            git init -q --bare ~/common.git; git --git-dir ~/common.git config core.fsmonitor "$(spy common)"
            echo ~/common.git >.git/commondir; mkdir -p .git/worktrees/x; echo ~/common.git >.git/worktrees/x/commondir"#,
        ),
        Row::new("git-file", "puts a file that points elsewhere in the place of the repository", Must::GainNothing).install(
            r#"mv .git ~/moved.git; git --git-dir ~/moved.git config core.fsmonitor "$(spy gitfile)"; echo "gitdir: $HOME/moved.git" >.git"#,
        ),
        Row::new("git-link", "puts a link that points elsewhere in the place of the repository", Must::GainNothing).install(
            r#"mv .git ~/moved.git; git --git-dir ~/moved.git config core.fsmonitor "$(spy gitlink)"; ln -s ~/moved.git .git"#,
        ),
        plants(
            "git-modules",
            "leaves settings of submodules and of other work trees",
            r#"
            git init -q ~/other; mkdir -p .git/modules; cp -r ~/other/.git .git/modules/other
            git config --file .git/modules/other/config core.fsmonitor "$(spy module)"
            git config submodule.other.update "!$(spy update)"; git config submodule.recurse true"#,
        ),
    ]
}

fn history() -> Vec<Row> {
    let own = "commit() { git -c user.name=a -c user.email=a@b.example commit -q \"$@\"; }; echo more >more; git add more; commit -m own";
    let tampers = |name, tries, script: &str| Row::new(name, tries, Must::GainNothing).install(script);
    vec![
        tampers("git-commit", "moves the branch to a commit of its own", own),
        tampers("git-branch", "checks out a branch of its own", &format!("git checkout -q -b other; {own}")),
        tampers("git-detached", "has no branch checked out", &format!("git checkout -q --detach; {own}")),
        tampers(
            "git-remote-ref",
            "says that the remote has a commit of its own",
            &format!(
                "{own}; git update-ref refs/remotes/origin/main HEAD; git reset -q --hard HEAD^; git pack-refs --all"
            ),
        ),
        tampers(
            "git-index",
            "hides its changes from git",
            "git update-index --assume-unchanged README.md; git update-index --skip-worktree hide.mjs; echo changed >>README.md",
        ),
        tampers(
            "git-objects",
            "takes objects from elsewhere, and has them replaced",
            &format!(
                r#"
                git init -q ~/objects; mkdir -p .git/objects/info; echo ~/objects/.git/objects >.git/objects/info/alternates
                before=$(git rev-parse HEAD); {own}; after=$(git rev-parse HEAD); git reset -q --hard "$before"
                git replace "$before" "$after"; echo "$before" >.git/info/grafts"#
            ),
        ),
        Row::new("git-gone", "removes the repository", REFUSED).install("rm -rf .git"),
        Row::new("git-anew", "puts an empty repository in its place", REFUSED)
            .install("rm -rf .git && git init -q"),
        plants(
            "git-pipes",
            "leaves pipes where git reads",
            "mkdir -p src && mkfifo src/.gitattributes src/.gitignore .gitattributes .git/objects/pack/x.idx .git/info/pipe",
        ),
        plants(
            "git-half-done",
            "leaves a rebase under way",
            "mkdir -p .git/rebase-merge .git/sequencer; echo x >.git/rebase-merge/done; git config core.editor \"$(spy editor)\"",
        ),
        tampers(
            "git-tag",
            "leaves tags and stashes",
            &format!(
                "git tag planted-here; {own}; git reset -q --hard HEAD^; echo x >>README.md; git -c user.name=a -c user.email=a@b.example stash -q"
            ),
        ),
    ]
}
