//! What an operator withdraws while it is built.

use chrono::{DateTime, Utc};
use job::{Concern, FailureKind, Folded, OutcomeWord, Revocation, Revoked};

use super::scene::{SOON, Scene};
use super::steps::HELD;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_in_the_making_is_built_anew() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/leaky").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    let of = Revoked::BuiltSince(DateTime::UNIX_EPOCH);
    let rule = Concern::Revocation(Revocation { of, until: Utc::now() });
    assert_eq!(scene.register.append(&target, rule, SOON).await.unwrap(), Folded::Taken);
    scene.let_go(&sandbox).await;

    let anew = scene.until_held_anew(&target, &sandbox.id).await;
    assert_eq!(scene.state(&target).await.promoted, None, "nobody was given it");
    scene.let_go(&anew).await;
    let ends = scene.ends(job.id, 2).await;
    assert_eq!(ends[0].failure.as_ref().map(|failure| failure.id), Some(FailureKind::PromoteRevoked));
    assert_eq!(ends[1].outcome, OutcomeWord::Built);
    let promoted = scene.promoted(&target).await;
    assert_eq!(promoted.attempt, ends[1].attempt);
    assert_eq!(
        promoted.secrets,
        Some(["GITHUB_TOKEN".to_owned()].into()),
        "who may have been given what is noted"
    );
    scene.only_prebuild_is(&promoted.name.to_string()).await;
    scene.nothing_leaks().await;
}
