//! Targets that are gone from the fleet file: what the active producer does about them, at which time. The test moves its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{TimeDelta, Utc};
use fleet_tests::eventually;
use job::{Folded, PrebuildRecord, Target, TargetState};
use producer::{Clock, ProducerSettings, RunContext};
use settings::Environment;
use telemetry::Metrics;
use tokio::signal::unix::{SignalKind, signal};

use super::collecting::{names, record_in};
use super::scene::{SOON, Scene};

/// A producer in this process, by a clock of the test's.
struct Producer {
    ahead: Arc<AtomicI64>,
    shutdown: lifecycle::Shutdown,
    running: tokio::task::JoinHandle<Result<(), producer::ProducerError>>,
}

impl Producer {
    async fn start(scene: &Scene) -> Self {
        let environment = Environment::from_pairs([
            ("HARVEST_FLEET", scene.fleet.name()),
            ("AMQP_URL", scene.fleet.amqp_url()),
            ("DAYTONA_API_URL", scene.fleet.api_url()),
            ("DAYTONA_API_KEY", scene.fleet.api_key()),
        ]);
        let config = scene.fleet.directory().join("producer.toml");
        let settings = ProducerSettings::load(&environment, Some(&config)).unwrap();
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = {
            let ahead = Arc::clone(&ahead);
            Clock::new(move || Utc::now() + TimeDelta::hours(ahead.load(Ordering::Relaxed)))
        };
        let shutdown = lifecycle::Shutdown::new();
        let metrics = Metrics::new(opentelemetry_sdk::Resource::builder_empty().build()).unwrap();
        let context =
            RunContext { instance: "producer-1".to_owned(), clock, metrics, shutdown: shutdown.clone() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hangups = signal(SignalKind::hangup()).unwrap();
        let running = tokio::spawn(producer::run(settings, listener, hangups, context));
        Self { ahead, shutdown, running }
    }

    fn go_on(&self, hours: i64) {
        self.ahead.fetch_add(hours, Ordering::Relaxed);
    }

    async fn end(self) {
        self.shutdown.drain();
        self.running.await.unwrap().unwrap();
    }
}

impl Scene {
    /// So many targets with a promoted prebuild each; only some of them have a snapshot.
    async fn targets(&self, count: usize, with_snapshots: usize) -> Vec<(Target, PrebuildRecord)> {
        let mut targets = Vec::new();
        for number in 0..count {
            let target: Target = format!("acme/t{number:02}@main").parse().unwrap();
            let mut prebuild = record_in(&self.fleet_name(), &target);
            if number < with_snapshots {
                prebuild.snapshot_id = self.snapshot(&prebuild.name.to_string()).await;
            }
            assert_eq!(self.promote(&target, &prebuild, &[]).await, Folded::Taken);
            targets.push((target, prebuild));
        }
        targets
    }

    fn list_in_file(&self, targets: &[(Target, PrebuildRecord)], more: &str) {
        let entry = |(target, _): &(Target, PrebuildRecord)| {
            format!("[[repository]]\nname = \"acme/{}\"\n", target.name())
        };
        let text = format!(
            "[defaults]\nevery = \"1h\"\nclone_url = \"http://git.invalid/{{owner}}/{{name}}\"\n{}{more}",
            targets.iter().map(entry).collect::<String>()
        );
        let next = self.fleet.directory().join("next.toml");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.fleet.fleet_file()).unwrap();
    }

    async fn states_where(&self, what: &str, holds: impl Fn(&[Arc<TargetState>]) -> bool) {
        eventually(SOON, what, async || {
            self.register.sync(SOON).await.map_err(|error| error.to_string())?;
            let states = self.register.targets();
            let shown =
                states.iter().map(|state| (state.target.to_string(), state.gone, state.promoted.is_some()));
            if holds(&states) { Ok(()) } else { Err(format!("{:?}", shown.collect::<Vec<_>>())) }
        })
        .await;
    }
}

fn gone(states: &[Arc<TargetState>]) -> usize {
    states.iter().filter(|state| state.gone.is_some()).count()
}

fn retired(states: &[Arc<TargetState>]) -> usize {
    states.iter().filter(|state| state.gone.is_some_and(|gone| gone.retired.is_some())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_fleet_file_removes_a_tenth_a_day_after_a_week() {
    let scene = Scene::with(|plan| plan.in_use = "0s").await;
    let targets = scene.targets(20, 3).await;
    scene.list_in_file(&targets, "");
    let producer = Producer::start(&scene).await;
    scene.list_in_file(&[], "");
    scene.states_where("all are gone", |states| gone(states) == 20).await;
    producer.go_on(7 * 24 - 1);
    // A target that is noted by that clock shows that it has looked.
    let another: Target = "acme/another@main".parse().unwrap();
    let prebuild = record_in(&scene.fleet_name(), &another);
    assert_eq!(scene.promote(&another, &prebuild, &[]).await, Folded::Taken);
    scene.states_where("another is gone", |states| gone(states) == 21).await;
    assert_eq!(retired(&scene.register.targets()), 0, "not yet a week");
    assert_eq!(scene.prebuilds().await.len(), 3);

    producer.go_on(2);
    scene.states_where("a tenth is retired", |states| retired(states) == 2).await;
    scene.only_prebuilds_are(&names(targets[2..3].iter().map(|(_, prebuild)| prebuild))).await;
    let asked = scene.fleet.ask_json(&["prebuilds", "retire", "--dry-run", "--json"]).await.unwrap();
    assert_eq!(
        asked["targets"].as_array().map(Vec::len),
        Some(0),
        "not by the clock of this machine: {asked}"
    );
    producer.go_on(25);
    scene.states_where("the next day another tenth", |states| retired(states) == 3).await;
    producer.end().await;

    // Another keeper goes on where this one ended; a person does the rest.
    let named = format!("{}", targets[10].0);
    let asked = scene.fleet.ask_json(&["prebuilds", "retire", &named, "--yes", "--json"]).await.unwrap();
    assert_eq!(asked["targets"][0]["result"], "retired", "{asked}");
    let told = scene.fleet.ask(&["resolve", &named], SOON).await.unwrap();
    assert!(told.stderr.contains("gone from fleet.toml"), "{told:?}");
    let told = scene.fleet.ask(&["explain", &named], SOON).await.unwrap();
    assert!(told.stdout.contains("its prebuilds were removed at"), "{told:?}");
    let told = scene.fleet.ask(&["status"], SOON).await.unwrap();
    assert!(told.stdout.contains("its prebuilds are removed at"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_comes_back_is_as_if_it_had_never_gone() {
    let scene = Scene::with(|plan| plan.in_use = "0s").await;
    let targets = scene.targets(2, 2).await;
    scene.list_in_file(&targets, "");
    let producer = Producer::start(&scene).await;
    scene.list_in_file(&targets[1..], "");
    scene.states_where("one is gone", |states| gone(states) == 1).await;
    // With a mistake in an entry the other is none that is gone: it may be this one.
    scene.list_in_file(&targets[..1], "[[repository]]\nname = \"acme\"\n");
    scene.states_where("the one is back, and the other beside a mistake", |states| gone(states) == 0).await;
    producer.go_on(24 * 30);
    scene.list_in_file(&targets[1..], "");
    scene.states_where("one is gone", |states| gone(states) == 1).await;
    producer.go_on(24 * 6);
    scene.list_in_file(&targets, "");
    scene.states_where("it is back", |states| gone(states) == 0).await;
    producer.go_on(24 * 6);
    scene.list_in_file(&targets[1..], "");
    scene.states_where("it is gone again", |states| gone(states) == 1).await;
    assert_eq!(retired(&scene.register.targets()), 0, "its week begins anew");
    scene.only_prebuilds_are(&names(targets.iter().map(|(_, prebuild)| prebuild))).await;
    producer.go_on(24 * 7);
    scene.states_where("it is retired", |states| retired(states) == 1).await;
    scene.only_prebuilds_are(&names(targets[1..].iter().map(|(_, prebuild)| prebuild))).await;
    producer.end().await;
}
