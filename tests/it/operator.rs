//! harvestctl against a real broker, a real sandbox server and a real git server: what operators type, what they read,
//! and the exit code that a cron line sees. The "worker" is written here, over the broker crate.

mod daytona;
mod revoke;
mod scene;
mod visible;
mod worker;

use std::collections::BTreeMap;

use ::operator::Exit;
use broker::Settled;
use chrono::Utc;
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::GitServer;
use fleet_tests::rabbit::RabbitNode;
use job::{OutcomeWord, PrebuildRecord, Reason, TargetState};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use lifecycle::Shutdown;
use serde_json::Value;

use daytona::Daytona;
use scene::{RETRY, Said, Scene, target};
use worker::{Worker, failure};

#[tokio::test]
async fn submit_waits_for_every_attempt_and_fails_with_what_failed() {
    let scene = Scene::start().await;
    let worker = Worker::of(&scene).await;
    let work = async {
        for _ in 0..3 {
            let (delivery, job) = worker.take().await;
            let attempt = delivery.message().envelope.attempt;
            assert_eq!((job.reason, job.forced), (Reason::OnDemand, true));
            if job.target == target("acme/bad@main") {
                worker.dead_letter(&job, delivery).await;
            } else if attempt == 1 {
                worker.ended(&job, 1, OutcomeWord::Failed, "retry").await;
                let next = job::Envelope { attempt: 2, ..delivery.message().envelope.clone() };
                assert_eq!(delivery.retry_after(RETRY, next).await, Settled::Done);
            } else {
                worker.ended(&job, 2, OutcomeWord::Built, "ack").await;
                assert_eq!(delivery.ack().await, Settled::Done);
            }
        }
    };
    let (said, ()) = tokio::join!(scene.ask("submit --all --wait --force", Exit::Failed), work);
    let out = said.out.text();
    let failed = "failed install.registry_unavailable (registry answered 503)";
    for line in [
        &format!("acme/good@main  attempt 1/3  {failed}; next try in 200ms\n"),
        "acme/good@main  attempt 2/3  built in 1s\n",
        &format!("acme/bad@main  attempt 1/3  {failed}; dead letter"),
        "Success: 1/2\nFailed: acme/bad@main\n",
    ] {
        assert!(out.contains(line), "`{line}` in {said}");
    }
    worker.broker.close().await;
}

#[tokio::test]
async fn one_target_by_name_and_unknown_ones_by_what_is_near() {
    let scene = Scene::start().await;
    let worker = Worker::of(&scene).await;
    let work = async {
        let (delivery, job) = worker.take().await;
        worker.build(&job, delivery).await;
    };
    let (said, ()) = tokio::join!(scene.ask("submit acme/good --wait --json", Exit::Done), work);
    let events: Vec<Value> =
        said.out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(words, ["submitted", "attempt", "summary"], "{said}");
    assert_eq!(events[2]["succeeded"][0], "acme/good@main");

    let said = scene.ask("submit acme/god", Exit::NotFound).await;
    assert!(said.err.text().contains("did you mean acme/good@main"), "{said}");
    worker.broker.close().await;
}

#[tokio::test]
async fn an_interrupt_or_a_timeout_leaves_the_jobs_running_and_says() {
    let scene = Scene::start().await;
    let (said, shutdown) = (Said::default(), Shutdown::new());
    let interrupt = async {
        said.until("submitted as job").await;
        shutdown.drain();
    };
    let (exit, ()) = tokio::join!(scene.run("submit acme/good --wait", &said, &shutdown), interrupt);
    assert_eq!(exit, Exit::Failed, "{said}");
    assert!(
        said.err.text().contains("the jobs go on") && said.out.text().contains("Still running"),
        "{said}"
    );

    let said = scene.ask("submit acme/bad --wait --timeout 1s", Exit::Failed).await;
    assert!(said.err.text().contains("gave up waiting after 1s"), "{said}");
    let status = scene.ask("status --json", Exit::Done).await.json();
    let waiting =
        status["queues"].as_array().unwrap().iter().find(|queue| queue["queue"] == "ondemand").unwrap();
    assert_eq!(waiting["messages"], 2, "{status}");
}

#[tokio::test]
async fn a_broker_that_comes_back_is_waited_for_and_no_end_is_missed() {
    let mut node = RabbitNode::start().await.unwrap();
    let scene = Scene::at(node.amqp_url("/"));
    let worker = Worker::of(&scene).await;
    let said = Said::default();
    let outage = async {
        said.until("submitted as job").await;
        node.restart().await.unwrap();
        let (delivery, job) = worker.take().await;
        worker.build(&job, delivery).await;
    };
    let shutdown = Shutdown::new();
    let (exit, ()) = tokio::join!(scene.run("submit acme/good --wait", &said, &shutdown), outage);
    assert_eq!(exit, Exit::Done, "{said}");
    assert!(said.err.text().contains("lost RabbitMQ"), "{said}");
    assert!(said.out.text().contains("Success: 1/1"), "{said}");
    worker.broker.close().await;
}

#[tokio::test]
async fn dead_letters_are_listed_told_and_sent_again() {
    let scene = Scene::start().await;
    let worker = Worker::of(&scene).await;
    scene.ask("submit acme/bad", Exit::Done).await;
    let (delivery, job) = worker.take().await;
    worker.dead_letter(&job, delivery).await;

    let list = scene.ask("dead-letters list --json", Exit::Done).await.json();
    let letter = &list["dead_letters"][0];
    assert_eq!(
        (&letter["job"], &letter["failure"]),
        (&job.id.to_string().into(), &failure().id.id().into()),
        "{list}"
    );
    let id = letter["short_id"].as_str().unwrap();
    let story = scene.ask(&format!("dead-letters show {id}"), Exit::Done).await.out.text();
    assert!(story.contains("left-pad@1.3.0") && story.contains("\"target\": \"acme/bad@main\""), "{story}");
    scene.ask("dead-letters show 0000beef", Exit::NotFound).await;

    let refused = scene.ask(&format!("dead-letters replay {id}"), Exit::Usage).await;
    assert!(refused.err.text().contains("--yes"), "{refused}");
    let status = scene.ask("status", Exit::Done).await;
    assert!(status.out.text().contains("1 dead letter"), "{status}");

    scene.repositories("https://other.invalid/{owner}/{name}.git", &["acme/bad"]);
    scene.ask(&format!("dead-letters replay {id} --yes"), Exit::Done).await;
    let (delivery, again) = worker.take().await;
    assert_eq!((again.id, again.reason, again.forced), (job.id, Reason::Replay, true));
    assert_eq!(again.settings.clone.url, "https://other.invalid/acme/bad.git");
    let envelope = &delivery.message().envelope;
    assert!(envelope.attempt == 1 && envelope.replay.is_some(), "{envelope:?}");
    let state = worker.known(&job.target).await.unwrap();
    assert!(state.open_dead_letters.is_empty(), "{state:?}");
    assert_eq!(delivery.ack().await, Settled::Done);
    assert_eq!(scene.ask("dead-letters list", Exit::Done).await.out.text(), "no dead letters\n");
    worker.broker.close().await;
}

#[tokio::test]
async fn what_is_no_job_is_shown_and_never_sent() {
    let scene = Scene::start().await;
    let broker = scene.broker().await;
    let connection = Connection::connect(&scene.amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let dead = broker.topology().dead_queue();
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirm = channel
        .basic_publish("".into(), dead.as_str().into(), options, b"\xff\x1bjunk", BasicProperties::default())
        .await
        .unwrap();
    assert!(confirm.await.unwrap().is_ack());

    let shown = scene.ask("dead-letters show bytes", Exit::Done).await;
    assert!(shown.out.text().contains("ff1b6a756e6b") && !shown.out.text().contains('\u{1b}'), "{shown}");
    for line in ["dead-letters replay --all --yes", "dead-letters replay --all --yes --as-recorded"] {
        let refused = scene.ask(line, Exit::Failed).await;
        assert!(refused.out.text().contains("its bytes are no job"), "{refused}");
    }
    let list = scene.ask("dead-letters list --json", Exit::Done).await.json();
    assert_eq!(list["dead_letters"].as_array().unwrap().len(), 1, "{list}");
    broker.close().await;
}

fn record(scene: &Scene, of: &str, snapshot_id: &str) -> PrebuildRecord {
    let example = PrebuildRecord::example_of(&scene.fleet, &target(of));
    PrebuildRecord { snapshot_id: snapshot_id.to_owned(), ..example }
}

#[tokio::test]
async fn sessions_get_their_answer_with_and_without_the_broker() {
    let daytona = Daytona::start().await;
    let mut scene = Scene::start().await;
    daytona.tell(&mut scene);
    let mut prebuild = record(&scene, "acme/good@main", "");
    prebuild.snapshot_id = daytona.snapshot(&prebuild.name.to_string()).await;

    let broker_url = std::mem::replace(&mut scene.amqp_url, "amqp://guest:guest@127.0.0.1:1/%2f".to_owned());
    scene.set("HARVEST_BROKER_CONNECT_TIMEOUT", "1s");
    let answer = scene.ask("resolve acme/good --json", Exit::Done).await.json();
    assert_eq!(answer["snapshot_id"], prebuild.snapshot_id.as_str(), "{answer}");
    assert_eq!(
        (&answer["confirmed"], &answer["source"]),
        (&false.into(), &"daytona_names".into()),
        "{answer}"
    );
    let none = scene.ask("resolve acme/bad", Exit::NotFound).await;
    assert!(none.err.text().contains("harvestctl submit acme/bad@main"), "{none}");

    scene.amqp_url = broker_url;
    scene.set("HARVEST_BROKER_CONNECT_TIMEOUT", "20s");
    let worker = Worker::of(&scene).await;
    let state = TargetState::new(target("acme/good@main"), Utc::now());
    worker.put(TargetState { promoted: Some(prebuild.clone()), ..state }).await;
    let answer = scene.ask("resolve acme/good@main --json", Exit::Done).await.json();
    assert_eq!((&answer["confirmed"], &answer["source"]), (&true.into(), &"register".into()), "{answer}");
    assert_eq!(answer["name"], prebuild.name.to_string());
    worker.broker.close().await;
    daytona.end().await;
}

#[tokio::test]
async fn explain_and_doctor_ask_everybody() {
    let (daytona, git) = (Daytona::start().await, GitServer::start().await.unwrap());
    let head = git.create_repo("acme/good", Sample::NpmService).await.unwrap();
    let mut scene = Scene::start().await;
    daytona.tell(&mut scene);
    scene.repositories(&git.url_template(), &["acme/good"]);

    let healthy = scene.ask("doctor", Exit::Done).await;
    assert!(healthy.out.text().contains(&head) && healthy.out.text().contains("all is well"), "{healthy}");
    let explained = scene.ask("explain acme/good --json", Exit::Done).await.json();
    assert_eq!(
        (&explained["next_tick"]["verdict"], &explained["next_tick"]["commit"]),
        (&"builds".into(), &head.as_str().into()),
        "{explained}"
    );

    let worker = Worker::of(&scene).await;
    scene.ask("submit acme/good", Exit::Done).await;
    let (delivery, job) = worker.take().await;
    worker.build(&job, delivery).await;
    let explained = scene.ask("explain acme/good", Exit::Done).await;
    assert!(explained.out.text().contains("1/3      built"), "{explained}");

    scene.repositories(&git.url_template(), &["acme/good", "acme/absent"]);
    let ill = scene.ask("doctor --json", Exit::Failed).await.json();
    let failed: BTreeMap<&str, &str> = ill["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["finding"] == "failed")
        .map(|check| (check["check"].as_str().unwrap(), check["remedy"].as_str().unwrap()))
        .collect();
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&"acme/absent@main"], "{ill}");
    assert!(failed["acme/absent@main"].contains("GITHUB_TOKEN"), "{failed:?}");
    worker.broker.close().await;
    daytona.end().await;
}

#[tokio::test]
async fn doctor_names_the_lines_that_the_workers_rules_lack() {
    let mut scene = Scene::at("amqp://guest:guest@127.0.0.1:1/%2f".to_owned());
    scene.set("HARVEST_BROKER_CONNECT_TIMEOUT", "1s");
    scene.set("GITHUB_TOKEN", "ghp_hidden");
    scene.repositories("https://git.invalid/{owner}/{name}.git", &["acme/shop"]);
    let file = scene.folder.path().join("worker.toml");
    let line = format!("doctor --worker-config {}", file.display());
    let asked = async |rules: &str| {
        std::fs::write(&file, format!("slots = 8\n{rules}")).unwrap();
        scene.ask(&line, Exit::Failed).await.out.text()
    };
    let said = asked("").await;
    let missing = "git = [\"https://git.invalid/acme/shop\"] under [secrets.GITHUB_TOKEN]";
    assert!(said.contains("FAIL  secret rules") && said.contains(missing), "{said}");
    assert!(!said.contains("ghp_hidden"), "{said}");
    let said = asked("[secrets.GITHUB_TOKEN]\ngit = [\"https://git.invalid/acme/\"]\n").await;
    assert!(said.contains("ok    secret rules"), "{said}");
    let said = asked("[secrets.GITHUB_TOKEN]\ngit = [\"https://*/\"]\n").await;
    assert!(said.contains("worker.toml:3:7"), "{said}");
    let said = scene.ask("doctor", Exit::Failed).await.out.text();
    assert!(said.contains("--worker-config"), "{said}");
}

#[tokio::test]
async fn doctor_says_what_to_do_when_nothing_is_there() {
    let mut scene = Scene::at("amqp://guest:guest@127.0.0.1:1/%2f".to_owned());
    scene.set("HARVEST_BROKER_CONNECT_TIMEOUT", "1s");
    scene.repositories("https://git.invalid/{owner}/{name}.git", &[]);
    let said = scene.ask("doctor", Exit::Failed).await;
    for words in ["check AMQP_URL", "set DAYTONA_API_KEY"] {
        assert!(said.out.text().contains(words), "{said}");
    }
    let said = scene.ask("status", Exit::Failed).await;
    assert!(said.err.text().contains("AMQP_URL"), "{said}");
}
