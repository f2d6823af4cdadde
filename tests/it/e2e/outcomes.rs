//! Every way an attempt can end well, or not at all.

use fleet_tests::fixtures::Sample;
use job::{Completeness, FailureKind, OutcomeWord};

use super::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_built_once_and_again_for_a_new_commit() {
    let scene = Scene::with(|plan| plan.in_use = "0s").await;
    let (target, commit) = scene.repository("acme/service", Sample::NpmService).await;
    let _producer = scene.fleet.producer(&[]).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();

    let end = scene.bring_up_to_date(&target).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    let prebuild = scene.promoted(&target).await;
    assert_eq!((prebuild.commit.as_str(), prebuild.completeness), (commit.as_str(), Completeness::Complete));
    assert!(prebuild.cold_start_milliseconds.is_some());
    scene.nothing_leaks().await;

    let session = scene.session(&prebuild).await;
    let git = "git -C /workspace/service";
    assert_eq!(session.says(&format!("{git} rev-parse HEAD")).await, commit);
    assert_eq!(session.says(&format!("{git} symbolic-ref --short HEAD")).await, "main");
    assert_eq!(session.says(&format!("{git} rev-parse --abbrev-ref main@{{upstream}}")).await, "origin/main");
    assert_eq!(session.says(&format!("{git} remote get-url origin")).await, scene.git.url("acme/service"));
    assert_eq!(session.says(&format!("{git} status --porcelain")).await, "");
    session.says("test -d /workspace/service/node_modules && test -d /workspace/service/dist").await;
    let manifest = session.says("cat /workspace/.harvest/manifest.json").await;
    let manifest: job::Manifest = serde_json::from_str(&manifest).unwrap();
    assert_eq!((manifest.commit.as_str(), manifest.prebuild), (commit.as_str(), prebuild.name.clone()));
    assert_eq!(manifest.clone.map(|clone| clone.url), Some(scene.git.url("acme/service")));
    assert_eq!(manifest.checkout, Some(job::CheckoutSettings::default()));
    session.end().await;

    let created = scene.sandboxes_created().await;
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Unchanged);
    assert_eq!(scene.sandboxes_created().await, created, "an unchanged target starts no sandbox");

    for round in 0..2 {
        let text = format!("round {round}\n");
        let next = scene.git.commit("acme/service", "main", &[("NOTES.md", &text)]).await.unwrap();
        assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
        assert_eq!(scene.promoted(&target).await.commit.as_str(), next);
    }
    let state = scene.state(&target).await;
    let kept: std::collections::BTreeSet<String> =
        state.prebuilds().map(|prebuild| prebuild.name.to_string()).collect();
    assert_eq!(kept.len(), 2, "two are kept: {kept:?}");
    assert!(!kept.contains(&prebuild.name.to_string()));
    scene.only_prebuilds_are(&kept).await;
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_get_the_pinned_node_in_plain_and_login_shells() {
    let scene = Scene::start().await;
    let (target, _) = scene.repository("acme/pinned", Sample::PinnedNode).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let end = scene.bring_up_to_date(&target).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    let session = scene.session(&scene.promoted(&target).await).await;
    assert_eq!(session.says("node --version").await, "v18.20.8");
    assert_eq!(session.says("bash -lc 'node --version' </dev/null").await, "v18.20.8");
    let (plain, login) =
        (session.says("npm --version").await, session.says("bash -lc 'npm --version' </dev/null").await);
    assert_eq!(plain, login);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pnpm_workspace_gets_its_pinned_pnpm() {
    let scene = Scene::start().await;
    let (target, _) = scene.repository("acme/workspace", Sample::PnpmWorkspace).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let end = scene.bring_up_to_date(&target).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    let session = scene.session(&scene.promoted(&target).await).await;
    assert_eq!(session.says("pnpm --version").await, "9.15.4");
    assert_eq!(session.says("bash -lc 'pnpm --version' </dev/null").await, "9.15.4");
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_build_script_is_promoted_and_flagged_partial() {
    let scene = Scene::start().await;
    let (target, commit) = scene.repository("acme/half", Sample::BrokenBuild).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let end = scene.bring_up_to_date(&target).await;
    assert_eq!(end.outcome, OutcomeWord::Partial, "{end:?}");
    assert_eq!(end.failure.as_ref().map(|failure| failure.id), Some(FailureKind::BuildFailed));
    let prebuild = scene.promoted(&target).await;
    assert_eq!((prebuild.commit.as_str(), prebuild.completeness), (commit.as_str(), Completeness::Partial));
    let session = scene.session(&prebuild).await;
    session.says("test -d /workspace/half/node_modules").await;
    session.end().await;
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_for_good_is_dead_lettered_and_not_retried() {
    let scene = Scene::start().await;
    let (target, _) = scene.repository("acme/broken", Sample::BrokenLockfile).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let end = scene.bring_up_to_date(&target).await;
    assert_eq!(
        (end.outcome, end.number, end.decision.as_str()),
        (OutcomeWord::Failed, 1, "dead_letter"),
        "{end:?}"
    );
    let depths = scene.broker.queue_depths().await.unwrap();
    assert_eq!(depths.dead, 1);

    let created = scene.sandboxes_created().await;
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::StillFailing);
    assert_eq!(scene.sandboxes_created().await, created, "a standing failure starts no sandbox");

    let forced = job::Job { forced: true, ..scene.job(&target) };
    scene.publish(&forced).await;
    assert_eq!(scene.last_end(&forced).await.outcome, OutcomeWord::Failed);
    assert_eq!(scene.broker.queue_depths().await.unwrap().dead, 1, "one open dead letter for one failure");
    assert_eq!(
        scene.state(&target).await.open_dead_letters.values().map(|open| open.count).collect::<Vec<_>>(),
        [2]
    );
    scene.nothing_leaks().await;
}
