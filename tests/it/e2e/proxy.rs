//! Bad minutes of the toolbox's proxy, and wrong settings of Daytona: what they mean is what the API says.

use job::OutcomeWord;
use serde_json::json;

use super::scene::Scene;
use super::steps::HELD;

const EVERY_CALL: &str = "/toolbox/*/**";

#[tokio::test(flavor = "multi_thread")]
async fn a_build_outlives_a_bad_minute_of_the_proxy() {
    let scene = Scene::start().await;
    let target = scene.small("acme/one").await.0;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let held = scene.until_held(&target).await;
    scene.let_go(&held).await;
    let said = "Bearer token validation error: dial tcp: connect: connection refused";
    for status in [401, 404] {
        let answer =
            json!({ "kind": "answer", "status": status, "body": { "statusCode": status, "message": said } });
        let fault = json!({ "match": { "path_pattern": EVERY_CALL }, "times": 6, "action": answer });
        scene.fleet.plant_fault(&fault).await.unwrap();
    }
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.nothing_leaks().await;
}
