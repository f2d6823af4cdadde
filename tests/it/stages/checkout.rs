//! One commit on its branch, by real git over HTTP, whatever the branch is called.

use fleet_tests::fixtures::Sample;
use job::{FailureKind, Scope};
use remote::Credential;
use worker::stages::checkout;
use worker::{EarlyEnd, ResolveAgain};

use super::bench::{Bench, NAME, PATH, commit, target};

#[tokio::test]
async fn a_commit_lies_on_its_branch_with_upstream_and_clean_remote() {
    let bench = Bench::start().await;
    let first = bench.git.create_repo(NAME, Sample::NpmService).await.unwrap();
    bench.git.require_token(NAME, "the-git-token-1").unwrap();
    let credential = Credential { user: None, token: "the-git-token-1".into() };
    let sandbox = bench.sandbox_knowing(&["the-git-token-1"]);
    let run = async |wanted: &str| {
        checkout::run(&sandbox, &target("main"), &bench.settings(), &commit(wanted), Some(&credential)).await
    };
    assert_eq!(run(&first).await.unwrap().path, PATH);
    let facts = "cd /workspace/name && git rev-parse HEAD && git symbolic-ref --short HEAD && git rev-parse --abbrev-ref '@{u}' \
                 && git config remote.origin.url && git status --porcelain --branch && git rev-list --count HEAD";
    let url = bench.git.url(NAME);
    assert_eq!(
        bench.prints(facts).await,
        format!("{first}\nmain\norigin/main\n{url}\n## main...origin/main\n1")
    );
    assert_eq!(
        bench
            .prints(
                "grep -rE 'the-git-token|Basic|Authorization' /workspace ~ ; env | grep -c GIT_CONFIG; true"
            )
            .await,
        "0"
    );

    // Warm: the same folder, brought forward; what was built stays, what was changed does not.
    let second = bench.git.commit(NAME, "main", &[("added.txt", "text")]).await.unwrap();
    bench.prints("cd /workspace/name && mkdir node_modules && touch node_modules/kept && echo changed >> package.json && touch untracked").await;
    run(&second).await.unwrap();
    assert_eq!(bench.prints("cd /workspace/name && git status --porcelain; git rev-parse HEAD; ls node_modules added.txt untracked 2>&1 | grep -v cannot").await,
        format!("{second}\nadded.txt\n\nnode_modules:\nkept"));
    bench.end().await;
}

#[tokio::test]
async fn hostile_branch_names_are_only_names() {
    let bench = Bench::start().await;
    bench.git.create_repo(NAME, Sample::NoLockfile).await.unwrap();
    for branch in [
        "feature/$(touch${IFS}pwned)",
        "a;touch>pwned&",
        "it's-\"quoted\"",
        "ünï/cödé-😀",
        "x`id`",
        "--upload-pack=x/y",
        "a|b",
    ] {
        let Ok(target) = job::Target::new("git.example", NAME, branch) else { continue };
        let Ok(wanted) = bench.git.commit(NAME, branch, &[("file.txt", branch)]).await else { continue };
        let checked_out =
            checkout::run(&bench.sandbox(), &target, &bench.settings(), &commit(&wanted), None).await;
        checked_out.unwrap_or_else(|error| panic!("{branch}: {error:?}"));
        let facts = "cd /workspace/name && git symbolic-ref --short HEAD && git -c core.quotePath=false rev-parse --abbrev-ref '@{u}' && cat file.txt";
        assert_eq!(bench.prints(facts).await, format!("{branch}\norigin/{branch}\n{branch}"));
    }
    assert_eq!(bench.prints("find /workspace ~ /tmp -name 'pwned*'").await, "");
    bench.end().await;
}

#[tokio::test]
async fn a_commit_pushed_away_is_gone_and_a_refused_token_is_told() {
    let bench = Bench::start().await;
    bench.git.create_repo(NAME, Sample::NoLockfile).await.unwrap();
    let old = bench.git.commit(NAME, "main", &[("a", "1")]).await.unwrap();
    bench.git.force_push(NAME, "main", &[("a", "2")]).await.unwrap();
    let run = async |branch: &str, wanted: &str| {
        checkout::run(&bench.sandbox(), &target(branch), &bench.settings(), &commit(wanted), None)
            .await
            .unwrap_err()
    };
    for (branch, wanted) in [("main", old.clone()), ("never-was", "0123456789".repeat(4))] {
        let end = run(branch, &wanted).await;
        assert!(matches!(end, EarlyEnd::ResolveAgain(ResolveAgain::CommitGone)), "{branch}: {end:?}");
    }

    bench.git.require_token(NAME, "the-git-token-2").unwrap();
    let end = run("other", &old).await;
    let failure = end.failure().unwrap_or_else(|| panic!("not a failure: {end:?}"));
    assert_eq!(failure.id, FailureKind::CloneAuth, "{failure:?}");
    assert!(failure.message.contains("GITHUB_TOKEN"), "{failure}");
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_is_down_is_the_hosts_fault() {
    let bench = Bench::start().await;
    let mut settings = bench.settings();
    settings.clone.url = "http://127.0.0.1:9/owner/name.git".to_owned();
    let end = checkout::run(&bench.sandbox(), &target("main"), &settings, &commit(&"a".repeat(40)), None)
        .await
        .unwrap_err();
    let failure = end.failure().unwrap_or_else(|| panic!("not a failure: {end:?}"));
    assert_eq!(
        (failure.id, &failure.scope),
        (FailureKind::CloneHostUnavailable, &Scope::GitHost("git.example".to_owned()))
    );
    bench.end().await;
}

#[tokio::test]
async fn only_the_folders_asked_for_are_there() {
    let bench = Bench::start().await;
    let wanted = bench.git.create_repo(NAME, Sample::PnpmWorkspace).await.unwrap();
    let mut settings = bench.settings();
    settings.checkout.filter = Some("blob:none".to_owned());
    settings.checkout.sparse = vec!["packages/greeting".to_owned()];
    checkout::run(&bench.sandbox(), &target("main"), &settings, &commit(&wanted), None).await.unwrap();
    assert_eq!(
        bench.prints("ls /workspace/name/packages; ls /workspace/name | grep -c package.json").await,
        "greeting\n1"
    );
    bench.end().await;
}
