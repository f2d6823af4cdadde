//! What two workers write of one target: neither undoes what the other has written meanwhile.

use fleet_tests::eventually;
use fleet_tests::git_server::Fault;
use job::{FailureKind, OutcomeWord};

use super::scene::{BUILD, Scene};
use super::steps::HELD;

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_without_the_lease_undoes_no_promotion() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/shared").await;
    let _workers = scene.two_workers().await;
    let job = || {
        let mut job = scene.job_building(&target, HELD);
        job.settings.keep = 1;
        job
    };
    let first = job();
    scene.publish(&first).await;
    scene.let_go(&scene.until_held(&target).await).await;
    assert_eq!(scene.last_end(&first).await.outcome, OutcomeWord::Built);
    let before = scene.promoted(&target).await;

    scene.git.commit("acme/shared", "main", &[("README.md", "newer\n")]).await.unwrap();
    let newer = job();
    scene.publish(&newer).await;
    let building = scene.until_held(&target).await;
    // The other worker has read what is promoted, and waits for a host that will not answer it.
    scene.git.set_fault("acme/shared", Fault::Hang).unwrap();
    let asked = scene.git.requests("acme/shared").len();
    let failing = job();
    scene.publish(&failing).await;
    eventually(BUILD, "the other worker asks the git host", async || {
        let requests = scene.git.requests("acme/shared");
        if requests.len() > asked { Ok(()) } else { Err(format!("{requests:?}")) }
    })
    .await;
    scene.let_go(&building).await;
    assert_eq!(scene.last_end(&newer).await.outcome, OutcomeWord::Built);
    let promoted = scene.promoted(&target).await;
    assert_ne!(promoted.name, before.name);

    let end = scene.end_where(&failing, "failed", |end| end.outcome == OutcomeWord::Failed).await;
    assert_eq!(end.failure.map(|failure| failure.id), Some(FailureKind::CloneHostUnavailable));
    let state = scene.state(&target).await;
    assert_eq!(state.promoted.as_ref(), Some(&promoted));
    assert_eq!(state.last.as_ref().map(|last| last.job), Some(failing.id), "its note is there as well");
    assert!(scene.prebuilds().await.contains(&promoted.name.to_string()), "it was collected");

    scene.git.set_fault("acme/shared", Fault::None).unwrap();
    assert_eq!(scene.last_end(&failing).await.outcome, OutcomeWord::Unchanged);
    scene.session(&promoted).await.end().await;
    scene.nothing_leaks().await;
}
