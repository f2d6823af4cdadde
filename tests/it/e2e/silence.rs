//! Who is silent because nobody could be heard is not dead.

use fleet_tests::eventually;
use job::OutcomeWord;
use serde_json::json;

use super::scene::{BUILD, Scene};
use super::steps::HELD;

#[tokio::test(flavor = "multi_thread")]
async fn who_could_not_beat_while_daytona_was_away_lives() {
    let scene = Scene::with(|plan| {
        plan.lease = ("300ms", "1s");
        plan.slots = 3;
    })
    .await;
    let workers = [scene.fleet.worker().await.unwrap(), scene.fleet.worker().await.unwrap()];
    let keeper = scene.fleet.keeper().await.unwrap();
    let mut builds = Vec::new();
    for number in 0..6 {
        let (target, _) = scene.small(&format!("acme/away-{number}")).await;
        let job = scene.job_building(&target, HELD);
        scene.publish(&job).await;
        builds.push((target, job));
    }
    let mut held = Vec::new();
    for (target, _) in &builds {
        held.push(scene.until_held(target).await);
    }
    let failed = || keeper.stderr().matches("nothing swept this time").count();
    let away = json!({
        "match": { "path_pattern": "/api/sandbox**" }, "times": 100_000, "action": { "kind": "drop_connection_before" }
    });
    scene.fleet.plant_fault(&away).await.unwrap();
    // A look fails at most every second: four of them are twice the time after which a silent holder is dead.
    eventually(BUILD, "the keeper's looks fail four times", async || {
        if failed() >= 4 { Ok(()) } else { Err(format!("{}: {}", failed(), keeper.stderr())) }
    })
    .await;
    scene.fleet.heal().await.unwrap();
    for sandbox in &held {
        scene.let_go(sandbox).await;
    }
    for (_, job) in &builds {
        let end = scene.last_end(job).await;
        assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    }
    assert_eq!(scene.captures().await, 6);
    assert!(!keeper.stderr().contains("swept a sandbox"), "{}", keeper.stderr());
    for worker in &workers {
        assert!(!worker.stderr().contains("lease taken over"), "{}", worker.stderr());
    }
    scene.nothing_leaks().await;
}
