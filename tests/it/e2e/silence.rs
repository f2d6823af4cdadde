//! Who is silent because nobody could be heard is not dead.

use fleet_tests::eventually;
use job::OutcomeWord;
use serde_json::json;

use super::scene::{BUILD, Scene};
use super::steps::HELD;

#[tokio::test(flavor = "multi_thread")]
async fn who_could_not_beat_while_daytona_was_away_lives() {
    let scene = Scene::with(|plan| {
        // Beats so far apart that the keeper's last look before Daytona is away shows what its first one afterwards does.
        plan.lease = ("2s", "6s");
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
    // A look fails at most every second: twelve of them are twice the time after which a silent holder is dead.
    eventually(BUILD, "the keeper's looks fail twelve times", async || {
        if failed() >= 12 { Ok(()) } else { Err(format!("{}: {}", failed(), keeper.stderr())) }
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

#[tokio::test(flavor = "multi_thread")]
async fn the_first_look_after_daytona_was_away_condemns_no_one() {
    let scene = Scene::with(|plan| plan.lease = ("2s", "6s")).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let keeper = scene.fleet.keeper().await.unwrap();
    let (target, _) = scene.small("acme/condemned").await;
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let held = scene.until_held(&target).await;
    let drop = |method: &str, path: &str, times: u64| {
        json!({
            "match": { "method": method, "path_pattern": path }, "times": times, "action": { "kind": "drop_connection_before" }
        })
    };
    let looks =
        async || scene.fleet.requests().await.unwrap()["requests"]["GET /api/sandbox"].as_u64().unwrap_or(0);
    let looked = async |times: u64| {
        eventually(BUILD, &format!("{times} looks at the list"), async || {
            let now = looks().await;
            if now >= times { Ok(()) } else { Err(format!("{now}: {}", keeper.stderr())) }
        })
        .await;
    };
    // No beat comes through from here on; the keeper sees the last one, and then nothing for longer than a holder may be silent.
    scene.fleet.plant_fault(&drop("PUT", "/api/sandbox/*/labels", 100_000)).await.unwrap();
    looked(looks().await + 2).await;
    let away = 40;
    scene.fleet.plant_fault(&drop("GET", "/api/sandbox", away)).await.unwrap();
    looked(looks().await + away + 1).await;
    scene.fleet.heal().await.unwrap();
    let failed = keeper.stderr().matches("nothing swept this time").count();
    assert!(failed > 6, "looks are a second apart at the least, and only {failed} failed");

    scene.let_go(&held).await;
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}: {}", keeper.stderr());
    assert!(!keeper.stderr().contains("swept a sandbox"), "{}", keeper.stderr());
    scene.nothing_leaks().await;
}
