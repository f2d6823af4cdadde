//! What Daytona does that no document says: bad minutes of the toolbox's proxy, rows of other people's, a region that is not there.

use fleet_tests::eventually;
use job::{FailureKind, OutcomeWord};
use serde_json::{Value, json};

use super::scene::{BUILD, SOON, Scene};
use super::steps::HELD;

const EVERY_CALL: &str = "/toolbox/*/**";

impl Scene {
    /// How many of the planted answers nobody was given yet.
    async fn faults_left(&self) -> u64 {
        let url = format!("{}/faults", self.fleet.api_url().trim_end_matches("/api"));
        let rules: Vec<serde_json::Value> = reqwest::get(url).await.unwrap().json().await.unwrap();
        rules.iter().map(|rule| rule["times"].as_u64().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_outlives_a_bad_minute_of_the_proxy() {
    let scene = Scene::start().await;
    let target = scene.small("acme/one").await.0;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let held = scene.until_held(&target).await;
    let said = "Bearer token validation error: dial tcp: connect: connection refused";
    for status in [401, 404] {
        let answer =
            json!({ "kind": "answer", "status": status, "body": { "statusCode": status, "message": said } });
        let fault = json!({ "match": { "path_pattern": EVERY_CALL }, "times": 6, "action": answer });
        scene.fleet.plant_fault(&fault).await.unwrap();
    }
    // The build stands still, so whatever is refused is a look of the worker's at a command that runs.
    fleet_tests::eventually(super::scene::SOON, "each refusal was met", async || {
        let left = scene.faults_left().await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    scene.let_go(&held).await;
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.nothing_leaks().await;
}

impl Scene {
    /// Puts a row beside the fleet's own, as other people's programs leave them.
    async fn plant_row(&self, kind: &str, row: &Value) {
        let url = format!("{}/faults/rows", self.fleet.api_url().trim_end_matches("/api"));
        let request = reqwest::Client::new().post(url).json(&json!({ "kind": kind, "row": row }));
        request.send().await.unwrap().error_for_status().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_however_odd_fail_nothing() {
    let scene = Scene::start().await;
    let target = scene.small("acme/one").await.0;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let fleet = scene.fleet.name().to_owned();
    let ours = format!("hv.{fleet}.odd.000000000000");
    for row in [
        json!({ "id": "a", "name": "x", "labels": { "a": 1, "harvest.fleet": 7 }, "cpu": "many", "state": 9 }),
        json!({ "id": "b", "name": null, "labels": { "harvest.fleet": fleet, "n": [1] }, "state": "melting" }),
        json!({ "id": "c", "name": ours, "labels": null, "createdAt": 5, "organizationId": {} }),
        json!({ "name": "no id at all", "labels": { "harvest.fleet": [fleet] } }),
    ] {
        scene.plant_row("sandbox", &row).await;
    }
    for row in [
        json!({ "id": "d", "name": format!("hv.{fleet}.odd"), "state": null, "size": "big", "lastUsedAt": 1 }),
        json!({ "id": 5, "name": format!("hv.{fleet}.odd.000000000000.x"), "state": {}, "general": "no" }),
        json!({ "name": format!("hv.{fleet}.no.id") }),
    ] {
        scene.plant_row("snapshot", &row).await;
    }
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let resolved = scene.fleet.ask_json(&["resolve", "acme/one", "--json"]).await.unwrap();
    assert_eq!(resolved["confirmed"], true, "{resolved}");
    let explained = scene.fleet.ask_json(&["explain", "acme/one", "--json"]).await.unwrap();
    assert_eq!(explained["next_tick"]["verdict"], "unchanged", "{explained}");
    let doctor = scene.fleet.ask(&["doctor"], SOON).await.unwrap();
    assert!(!doctor.stdout.contains("can't be read"), "{}", doctor.stdout);

    // The keeper sweeps and collects among them.
    let old = scene.promoted(&target).await;
    scene.git.commit("acme/one", "main", &[("more.md", "more")]).await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    scene.put_to_sleep(&daytona::SnapshotId::new(&old.snapshot_id)).await;
    let _keeper = scene.keeper().await;
    eventually(BUILD, "what sleeps and is kept is collected", async || {
        match scene.daytona.get_snapshot(&old.snapshot_id).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_not_there_is_configuration() {
    let elsewhere = ("DAYTONA_TARGET", "mars".to_owned());
    let scene = Scene::with(|plan| plan.variables.push(elsewhere)).await;
    let target = scene.small("acme/one").await.0;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job(&target);
    scene.publish(&job).await;
    let end = scene.end_where(&job, "with a failure", |end| end.failure.is_some()).await;
    let failure = end.failure.unwrap();
    assert_eq!(failure.id, FailureKind::ProvisionRegionMissing, "{failure}");
    assert!(failure.message.contains("DAYTONA_TARGET") && failure.message.contains("`mars`"), "{failure}");
    assert!(failure.message.contains("There are: "), "{failure}");
    assert_eq!(end.decision, "retry", "a setting that serves every target is waited for");
    let doctor = scene.fleet.ask(&["doctor"], SOON).await.unwrap();
    assert!(doctor.stdout.contains("there is no region `mars`; there are: "), "{}", doctor.stdout);
    scene.nothing_leaks().await;
}
