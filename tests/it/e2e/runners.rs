//! Machines of another kind than a container, and none that is free.

use job::{FailureKind, OutcomeWord};
use serde_json::json;

use super::scene::{SOON, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_machine_is_captured_at_rest() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/vm").await;
    let base = json!({ "name": "base-vm", "imageName": "registry.invalid/vm:1", "sandboxClass": "linux-vm" });
    let url = format!("{}/snapshots", scene.fleet.api_url());
    let made = reqwest::Client::new().post(url).bearer_auth(scene.fleet.api_key()).json(&base).send().await;
    made.unwrap().error_for_status().unwrap();
    fleet_tests::eventually(SOON, "the base is there", async || {
        scene.daytona.base_snapshot("base-vm").await.map_err(|error| error.to_string())
    })
    .await;
    let _worker = scene.fleet.worker().await.unwrap();
    let mut job = scene.job_building(&target, "true");
    job.settings.base_snapshot = "base-vm".into();
    scene.publish(&job).await;

    let end = scene.last_end(&job).await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    let promoted = scene.promoted(&target).await;
    let snapshot = scene.daytona.get_snapshot(&promoted.snapshot_id).await.unwrap().unwrap();
    assert_eq!(snapshot.class, daytona::SandboxClass::LinuxVm, "{snapshot:?}");
    assert_eq!(scene.session(&promoted).await.says("ls -d /workspace").await, "/workspace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_no_runner_takes_is_want_of_room() {
    let scene = Scene::with(|plan| {
        plan.worker_lines = "[sandboxes]\nstart_timeout = \"1m\"\n".into();
        // A minute in the queue takes a second.
        plan.sandboxd_flags.extend(["--minute-seconds".into(), "1".into()]);
    })
    .await;
    let (target, _) = scene.small("acme/queued").await;
    let none = json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox" }, "times": 2, "action": { "kind": "no_runner" } });
    scene.fleet.plant_fault(&none).await.unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;

    assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Built);
    let ends = scene.ends_of(job.id);
    let failures: Vec<_> = ends.iter().map(|end| end.failure.as_ref().map(|failure| failure.id)).collect();
    let no_room = Some(FailureKind::ProvisionNoCapacity);
    assert_eq!(failures, [no_room, no_room, None], "{ends:?}");
    scene.nothing_leaks().await;
}
