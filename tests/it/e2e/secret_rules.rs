//! Secrets have owners: whoever may publish a job gets none by naming it, wherever the job says that it comes from.

use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::GitServer;
use job::{CommandSetting, FailureKind, Job, OutcomeWord};

use super::scene::Scene;

const TOKEN: &str = "the-git-token-of-the-fleet";
const NPM: &str = "the-npm-token-of-one-team";

/// A fleet with two secrets; the git token is for its own git host, the other for one owner there.
async fn scene() -> Scene {
    let scene = Scene::with(|plan| {
        plan.secrets.push(("GITHUB_TOKEN", TOKEN.into()));
        plan.secrets.push(("NPM_TOKEN", NPM.into()));
    });
    let mut scene = scene.await;
    let host = scene.git.host();
    let git = format!("git = [\"http://{host}/\"]");
    let builds = format!("repositories = [\"http://{host}/acme/\"]");
    scene.fleet.allow(&[("GITHUB_TOKEN", &git), ("NPM_TOKEN", &builds)]).unwrap();
    scene
}

async fn refused(scene: &Scene, job: &Job) -> String {
    scene.publish(job).await;
    let end = scene.last_end(job).await;
    assert_eq!(
        (end.outcome, end.number, end.decision.as_str()),
        (OutcomeWord::Failed, 1, "dead_letter"),
        "{end:?}"
    );
    let failure = end.failure.unwrap();
    assert_eq!(failure.id, FailureKind::SecretNoRule, "{failure:?}");
    failure.message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_job_gets_no_secret_that_is_not_for_it() {
    let scene = scene().await;
    let evil = GitServer::start().await.unwrap();
    evil.create_repo("acme/shop", Sample::NoLockfile).await.unwrap();
    scene.git.create_repo("other/app", Sample::NoLockfile).await.unwrap();
    let (shop, _) = scene.repository("acme/shop", Sample::NoLockfile).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = |change: &dyn Fn(&mut Job)| {
        let mut job = Job { forced: true, ..scene.job(&shop) };
        change(&mut job);
        job
    };

    // The git token, by any of its names, to a host of the publisher's own.
    for name in ["GITHUB_TOKEN", "NPM_TOKEN"] {
        let message = refused(
            &scene,
            &job(&|job| {
                job.settings.clone.url = evil.url("acme/shop");
                job.settings.clone.token_secret = name.to_owned();
            }),
        )
        .await;
        let line = format!("http://{}/acme/shop\"] under [secrets.{name}]", evil.host());
        assert!(message.contains(&line), "the line to add is missing: {message}");
    }
    // Beside the repository's own URL, by what is fetched also.
    let message =
        refused(&scene, &job(&|job| job.settings.checkout.also = vec![evil.url("acme/shop")])).await;
    assert!(message.contains(&evil.host()), "{message}");
    // A build's secret: by the name of a target that may have it, from elsewhere; and for one that may not.
    let npm = |job: &mut Job| job.settings.secrets = ["NPM_TOKEN".to_owned()].into();
    let message = refused(
        &scene,
        &job(&|job| {
            npm(job);
            job.settings.clone.url = evil.url("acme/shop");
            job.settings.clone.token_secret = String::new();
        }),
    )
    .await;
    assert!(message.contains("NPM_TOKEN") && message.contains(&evil.host()), "{message}");
    let message = refused(
        &scene,
        &job(&|job| {
            npm(job);
            job.settings.clone.url = scene.git.url("other/app");
        }),
    )
    .await;
    assert!(message.contains("repositories = "), "{message}");
    // A URL with two readings.
    for url in [
        format!("http://{}/acme/../other/app.git", scene.git.host()),
        format!("http://{}/acme/%2e%2e/other/app.git", scene.git.host()),
        format!("http://{}@{}/acme/shop.git", scene.git.host(), evil.host()),
    ] {
        refused(&scene, &job(&|job| job.settings.clone.url.clone_from(&url))).await;
    }
    assert_eq!(evil.shown_passwords(), []);
    assert_eq!(evil.requests("acme/shop"), [""; 0], "nothing is asked before the secrets are judged");
    assert_eq!(scene.sandboxes_created().await, 0);

    // What is for it is given; and a public repository does without.
    let mut allowed = job(&|job| {
        npm(job);
        let print = "printf %s \"${#NPM_TOKEN}\" > length";
        job.settings.commands.install = Some(CommandSetting::Run(print.into()));
        job.settings.commands.build = Some(CommandSetting::Skip(()));
    });
    scene.publish(&allowed).await;
    let end = scene.last_end(&allowed).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    allowed = job(&|job| {
        job.settings.clone.url = evil.url("acme/shop");
        job.settings.clone.token_secret = String::new();
    });
    scene.publish(&allowed).await;
    let end = scene.last_end(&allowed).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    assert_eq!(evil.shown_passwords(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_which_secrets_are_for_nothing() {
    let mut scene = scene().await;
    scene.fleet.allow(&[("NPM_TOKN", "repositories = [\"acme/*\"]")]).unwrap();
    let worker = scene.fleet.worker().await.unwrap();
    let log = worker.stderr();
    for named in ["[secrets.GITHUB_TOKEN]", "[secrets.NPM_TOKEN]", "NPM_TOKN"] {
        assert!(log.contains(named), "{named} is not named: {log}");
    }
    assert!(!log.contains(TOKEN) && !log.contains(NPM), "{log}");
}
