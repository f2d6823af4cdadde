//! What steers git, shells and agents is as it was before the repository's code ran, whatever that did to it.

use std::time::Duration;

use job::{Failure, FailureKind, Stage};
use worker::sandbox::{Environment, Exit, LongCommand};
use worker::stages::baseline::{Baseline, find_difference};
use worker::stages::scrub::{self, Leave, LeftoverSection};

use super::bench::{Bench, PATH};

/// A checkout, a toolchain, and a home with things of its own.
const BEFORE: &str = r"
set -e
git init --quiet --initial-branch=main /workspace/name
cd /workspace/name
mkdir -p src/deep && echo text >src/deep/file && echo text >file
git add -A && git -c user.name=t -c user.email=t@example.com commit --quiet -m m
git config remote.origin.url https://git.example/owner/name.git
mkdir -p ~/.harvest/bin ~/.harvest/toolchains/node/bin ~/.config/git ~/.ssh
echo node >~/.harvest/toolchains/node/bin/node
ln -s ../toolchains/node/bin/node ~/.harvest/bin/node
echo own >~/.bashrc; echo '[user]' >~/.config/git/config; echo fund=false >~/.npmrc; chmod 700 ~/.ssh
";

async fn tampered_with(bench: &Bench, how: &str) -> Result<(), Failure> {
    bench.prints(BEFORE).await;
    let sandbox = bench.sandbox();
    let baseline = Baseline::take(&sandbox, PATH).await.unwrap();
    let command = LongCommand {
        stage: Stage::Build,
        label: "tampers",
        script: format!("cd /workspace/name\n{how}"),
        cwd: "/".to_owned(),
        environment: Environment::new(),
        deadline: Duration::from_mins(1),
    };
    assert_eq!(sandbox.run(&command).await.unwrap().exit, Exit::Code(0), "{how}");
    let scrubbed = scrub::run(&sandbox, PATH, &baseline, LeftoverSection::all(Leave::Drop), &[]).await;
    if scrubbed.is_ok() {
        let found = find_difference(&sandbox, PATH, &baseline.digests()).await.unwrap();
        assert_eq!(found, None, "{how}");
    }
    scrubbed.map(drop)
}

#[tokio::test]
async fn what_steers_git_shells_and_agents_is_put_back() {
    let bench = Bench::start().await;
    let how = r"
        git config core.fsmonitor /workspace/name/evil; git config filter.x.smudge evil; git config remote.origin.url https://evil.example/
        git config url.https://evil.example/.insteadOf https://git.example/
        echo '* filter=x' >.git/info/attributes; printf '#!/bin/sh\n' >.git/hooks/post-checkout; chmod +x .git/hooks/post-checkout
        mkdir -p .git/objects/info; echo /elsewhere >.git/objects/info/alternates; echo ../other >.git/commondir
        rm .git/commondir .git/objects/info/alternates; git config --unset core.fsmonitor
        git update-index --assume-unchanged file; git checkout --quiet -b other; git replace HEAD HEAD 2>/dev/null
        mkdir -p src/.git; echo 'ref: refs/heads/x' >src/.git/HEAD; echo 'gitdir: /elsewhere' >src/deep/.git; touch /workspace/.git
        chmod 0 .git/hooks .git/info
        rm -rf ~/.ssh ~/.config; ln -s /etc ~/.ssh; mkdir -p /tmp/elsewhere/git; ln -s /tmp/elsewhere ~/.config
        echo evil >>~/.bashrc; echo evil >~/.zshenv; echo evil >~/.gitconfig; echo evil >~/.netrc; echo evil >~/.npmrc
        mkdir -p ~/.claude ~/.mcp-memory ~/.local/bin; touch ~/.claude/settings.json; touch -d 2030-01-01 ~/.mcp-memory/memory.jsonl; chmod 0 ~/.claude
        for name in git bash env ssh; do printf '#!/bin/sh\n' >~/.harvest/bin/$name; cp ~/.harvest/bin/$name ~/.local/bin/; done
        touch ~/.harvest/bin/own-tool
        rm -rf /workspace/.harvest; ln -s /tmp/elsewhere /workspace/.harvest
    ";
    tampered_with(&bench, how).await.unwrap();
    let facts = r"cd /workspace/name
        git config --local --list | grep -vE '^core\.(repositoryformatversion|filemode|bare|logallrefupdates)='
        git symbolic-ref HEAD; git status --porcelain --untracked-files=no; find . -name .git; ls -A /workspace
        cat ~/.bashrc ~/.npmrc ~/.config/git/config; stat -c %a ~/.ssh; ls -A ~ ~/.harvest/bin ~/.local/bin | paste -sd ' '";
    assert_eq!(
        bench.prints(facts).await,
        "remote.origin.url=https://git.example/owner/name.git\nrefs/heads/main\n./.git\n.harvest\nname\nown\nfund=false\n[user]\n700\n\
         /home/harvest: .bashrc .config .harvest .local .npmrc .profile .ssh  /home/harvest/.harvest/bin: node own-tool  /home/harvest/.local/bin:"
    );
    bench.end().await;
}

#[tokio::test]
async fn a_changed_tool_or_repository_fails_and_is_named() {
    for (how, named) in [
        ("echo evil >>~/.harvest/toolchains/node/bin/node", ".harvest/toolchains/node/bin/node"),
        ("ln -sfn /usr/bin/env ~/.harvest/bin/node", ".harvest/bin/node"),
        ("mv ~/.harvest ~/old; mkdir -p ~/.harvest/bin", ".harvest/toolchains/node/bin/node"),
        (
            "rm ~/.harvest/toolchains/node/bin/node; mkfifo ~/.harvest/toolchains/node/bin/node",
            ".harvest/toolchains/node/bin/node",
        ),
        ("rm -rf .git && git init --quiet --initial-branch=main", ".git/objects"),
        ("find .git/objects -type f | head -n 1 | xargs rm -f", ".git/objects"),
        ("mv .git /tmp/elsewhere; ln -s /tmp/elsewhere .git", "/workspace/name/.git"),
        ("mv .git/objects /tmp/objects; ln -s /tmp/objects .git/objects", ".git/objects"),
        ("cd /; mv /workspace/name /tmp/name; ln -s /tmp/name /workspace/name", "/workspace/name"),
    ] {
        let bench = Bench::start().await;
        let failure = tampered_with(&bench, how).await.unwrap_err();
        assert_eq!(failure.id, FailureKind::ScrubTampered, "{how}: {failure:?}");
        assert!(failure.message.contains(named), "{how}: {failure}");
        bench.end().await;
    }
}

#[tokio::test]
async fn what_an_honest_build_leaves_stays() {
    let bench = Bench::start().await;
    let how = r"
        for clone in node_modules/y build/_deps/x; do git init --quiet $clone && touch $clone/.git/objects/x; done
        mkdir -p ~/.local/lib/python3.11/site-packages && cd ~/.local/lib/python3.11/site-packages
        echo /workspace/name/src >__editable__.name.pth; echo 'import evil' >evil.pth; echo 'import evil' >.evil.pth
        mkdir /workspace/name/lib; touch /workspace/name/lib/usercustomize.py; echo /workspace/name/lib >leads.pth
        mkdir -p ~/.npm/_logs/closed ~/.cache/tool; touch ~/.npm/_logs/closed/log; chmod 0 ~/.npm/_logs/closed
    ";
    tampered_with(&bench, how).await.unwrap();
    let facts = "cd /workspace/name; find . -name .git | sort | paste -sd ' '; ls -A ~/.local/lib/python3.11/site-packages; ls -A ~/.npm ~/.cache";
    assert_eq!(
        bench.prints(facts).await,
        "./.git ./build/_deps/x/.git ./node_modules/y/.git\n__editable__.name.pth\n/home/harvest/.cache:\ntool\n\n/home/harvest/.npm:"
    );
    bench.end().await;
}

#[tokio::test]
async fn what_stands_in_the_way_of_what_is_put_back_goes() {
    let bench = Bench::start().await;
    let how = r"
        rm ~/.bashrc .git/config .git/refs/heads/main .git/HEAD
        mkdir -p ~/.bashrc/x .git/config/a/b .git/refs/heads/main/b .git/HEAD .git/rebase-merge .git/sequencer .git/worktrees/x
        mkfifo src/.gitattributes .git/objects/pack/x.idx .gitignore src/deep/pipe; ln -s /etc .git/objects/pack/link
        rm -rf ~/.config; touch ~/.config
    ";
    tampered_with(&bench, how).await.unwrap();
    let facts = r"cd /workspace/name; git status --porcelain; git log --format=%s; cat ~/.bashrc ~/.config/git/config; ls -A .git/objects/pack
        find . ~ -type p; ls -d .git/rebase-merge .git/sequencer .git/worktrees 2>/dev/null || true";
    assert_eq!(bench.prints(facts).await, "m\nown\n[user]");
    bench.end().await;
}
