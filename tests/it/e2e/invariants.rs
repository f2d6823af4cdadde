//! What must always hold and belongs to no single story: see the table in ARCHITECTURE.md.

use fleet_tests::fixtures::Sample;
use job::OutcomeWord;
use settings::Environment;

use super::scene::{SOON, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_never_takes_the_last_good_prebuild_away() {
    let scene = Scene::start().await;
    let (target, commit) = scene.repository("acme/service", Sample::NpmService).await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let good = scene.promoted(&target).await;

    let broken = r#"{ "name": "service", "version": "1.0.0", "dependencies": { "left-pad": "99.99.99" } }"#;
    scene.git.commit("acme/service", "main", &[("package.json", broken)]).await.unwrap();
    let end = scene.bring_up_to_date(&target).await;
    assert_eq!((end.outcome, end.decision.as_str()), (OutcomeWord::Failed, "dead_letter"), "{end:?}");

    assert_eq!(scene.promoted(&target).await, good);
    let fixed = format!("{target}");
    scene.fleet.follow(&scene.git, &[("acme/service", "")]).unwrap();
    let answer = scene.fleet.ask_json(&["resolve", &fixed, "--json"]).await.unwrap();
    assert_eq!(answer["commit"], commit.as_str(), "{answer}");
    let session = scene.session(&good).await;
    assert_eq!(session.says("git -C /workspace/service rev-parse HEAD").await, commit);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_target_costs_two_look_ups() {
    let scene = Scene::start().await;
    let (target, _) = scene.repository("acme/service", Sample::NpmService).await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    // The base snapshot is looked up once a minute for all targets: this one makes sure it was.
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Unchanged);

    let (git_before, daytona_before) = (scene.git.requests("acme/service"), requests(&scene).await);
    let end = scene.bring_up_to_date(&target).await;
    assert_eq!(end.outcome, OutcomeWord::Unchanged);
    let (git_after, daytona_after) = (scene.git.requests("acme/service"), requests(&scene).await);

    // One question in git's protocol 2 is an advertisement and the question itself.
    assert_eq!(git_after.len() - git_before.len(), 2, "{:?}", &git_after[git_before.len()..]);
    let grown: Vec<(String, u64)> = daytona_after
        .into_iter()
        .map(|(call, count)| (call.clone(), count - daytona_before.get(&call).copied().unwrap_or(0)))
        .filter(|(_, grown)| *grown > 0)
        .collect();
    let snapshot_look_ups: u64 = grown.iter().map(|(_, count)| count).sum();
    assert!(grown.iter().all(|(call, _)| call.starts_with("GET /api/snapshots/")), "{grown:?}");
    // Two when the minute of the base snapshot happened to end just now.
    assert!((1..=2).contains(&snapshot_look_ups), "{grown:?}");
}

async fn requests(scene: &Scene) -> std::collections::BTreeMap<String, u64> {
    serde_json::from_value(scene.fleet.requests().await.unwrap()["requests"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_in_one_process_share_the_work_and_leave_alone() {
    let scene = Scene::start().await;
    let mut targets = Vec::new();
    for name in ["acme/one", "acme/two"] {
        targets.push(scene.repository(name, Sample::NpmService).await.0);
    }
    let config = scene.fleet.directory().join("worker.toml");
    let environment = Environment::from_pairs([
        ("HARVEST_FLEET", scene.fleet.name()),
        ("AMQP_URL", scene.fleet.amqp_url()),
        ("DAYTONA_API_URL", scene.fleet.api_url()),
        ("DAYTONA_API_KEY", scene.fleet.api_key()),
    ]);
    let mut workers = Vec::new();
    for name in ["first", "second"] {
        let settings = worker::WorkerSettings::load(&environment, Some(&config)).unwrap();
        let listener = lifecycle::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let shutdown = lifecycle::Shutdown::new();
        let metrics = telemetry::Metrics::new(telemetry_resource()).unwrap();
        let running = worker::run(settings, name.to_owned(), listener, metrics, shutdown.clone());
        workers.push((shutdown, tokio::spawn(running)));
    }
    let jobs: Vec<job::Job> = targets.iter().map(|target| scene.job(target)).collect();
    for job in &jobs {
        scene.publish(job).await;
    }
    for job in &jobs {
        assert_eq!(scene.last_end(job).await.outcome, OutcomeWord::Built);
    }
    let mut by: Vec<String> = scene.told().into_iter().map(|entry| entry.by).collect();
    by.sort();
    by.dedup();
    assert_eq!(by, ["first", "second"], "each has one slot, so each built one");

    let (shutdown, running) = workers.remove(0);
    shutdown.drain();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_eq!(
        scene.bring_up_to_date(&targets[0]).await.outcome,
        OutcomeWord::Unchanged,
        "the other goes on"
    );
    let (shutdown, running) = workers.remove(0);
    shutdown.drain();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
}

fn telemetry_resource() -> opentelemetry_sdk::Resource {
    opentelemetry_sdk::Resource::builder_empty().build()
}
