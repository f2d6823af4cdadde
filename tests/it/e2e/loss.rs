//! RabbitMQ has lost its data: sessions go on from what is left in Daytona, and it is said that nobody vouches for it.

use fleet_tests::eventually;
use fleet_tests::git_server::Fault;
use job::OutcomeWord;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;

use super::scene::{BUILD, SOON, Scene};

/// Deletes the streams; whoever connects next declares them anew.
async fn lose_streams(scene: &Scene) {
    let url = scene.fleet.amqp_url();
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let topology = scene.broker.topology();
    for stream in [topology.register_stream(), topology.checkpoints_stream(), topology.ledger_stream()] {
        channel.queue_delete(stream.into(), QueueDeleteOptions::default()).await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}

/// What a session would be given: the prebuild's name, and whether it is confirmed.
async fn given(scene: &Scene, target: &str) -> (Value, bool) {
    let answer = scene.fleet.ask_json(&["resolve", target, "--json"]).await.unwrap();
    (answer["name"].clone(), answer["confirmed"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn prebuilds_are_found_by_name_after_the_broker_lost_all() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/lost").await;
    scene.fleet.follow(&scene.git, &[("acme/lost", "")]).unwrap();
    let worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let name = Value::from(scene.promoted(&target).await.name.to_string());
    assert_eq!(given(&scene, "acme/lost").await, (name.clone(), true));
    drop(worker);

    lose_streams(&scene).await;
    let _keeper = scene.fleet.keeper().await.unwrap();
    let found = eventually(BUILD, "the prebuild is found", async || {
        scene.register.sync(SOON).await.map_err(|error| error.to_string())?;
        let state = scene.register.get(&target);
        state.as_ref().and_then(|state| state.found.clone()).ok_or_else(|| format!("{state:?}"))
    })
    .await;
    assert_eq!(Value::from(found.name.to_string()), name);
    assert_eq!(given(&scene, "acme/lost").await, (name.clone(), false));

    // The register hears of the target before it is built anew, and the answer stays.
    scene.git.set_fault("acme/lost", Fault::Unavailable { times: 1 }).unwrap();
    // What somebody asks for is taken before the tick's own job, which then builds the target.
    let job = scene.job(&target);
    scene.publish(&job).await;
    let captures = scene.captures().await;
    let _worker = scene.fleet.worker().await.unwrap();
    let failed = scene.end_where(&job, "failed", |end| end.outcome == OutcomeWord::Failed).await;
    assert_eq!(failed.number, 1);
    assert!(matches!(scene.last_end(&job).await.outcome, OutcomeWord::Built | OutcomeWord::Unchanged));
    assert_eq!((captures, scene.captures().await), (1, 2), "nobody's word is left of what it holds");
    let (anew, confirmed) = given(&scene, "acme/lost").await;
    assert!(anew != name && confirmed, "{anew}");
    scene.nothing_leaks().await;
}
