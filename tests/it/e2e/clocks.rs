//! A keeper's clock that is wrong by hours, or that jumps, costs nobody anything: no living holder is swept, and nothing newer
//! is undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Duration;
use job::OutcomeWord;
use lifecycle::Shutdown;
use producer::{Clock, ProducerError, ProducerSettings, RunContext};
use settings::Environment;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::scene::{SOON, Scene};
use super::steps::HELD;

/// A producer in this process, whose clock is wrong.
struct Keeper {
    /// By how many minutes.
    wrong_by: Arc<AtomicI64>,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), ProducerError>>,
}

impl Keeper {
    async fn start(scene: &Scene, minutes: i64) -> Self {
        let wrong_by = Arc::new(AtomicI64::new(minutes));
        let config = scene.fleet.directory().join("producer.toml");
        let environment = Environment::from_pairs([
            ("HARVEST_FLEET", scene.fleet.name()),
            ("AMQP_URL", scene.fleet.amqp_url()),
            ("DAYTONA_API_URL", scene.fleet.api_url()),
            ("DAYTONA_API_KEY", scene.fleet.api_key()),
        ]);
        let settings = ProducerSettings::load(&environment, Some(&config)).unwrap();
        let listener = lifecycle::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let shutdown = Shutdown::new();
        let resource = opentelemetry_sdk::Resource::builder_empty().build();
        let context = RunContext {
            instance: format!("keeper-{minutes}"),
            clock: Clock::new({
                let wrong_by = Arc::clone(&wrong_by);
                move || chrono::Utc::now() + Duration::minutes(wrong_by.load(Ordering::Relaxed))
            }),
            metrics: telemetry::Metrics::new(resource).unwrap(),
            shutdown: shutdown.clone(),
        };
        let hangups = signal(SignalKind::hangup()).unwrap();
        let running = tokio::spawn(producer::run(settings, listener, hangups, context));
        Self { wrong_by, shutdown, running }
    }

    fn jump_an_hour_ahead(&self) {
        self.wrong_by.fetch_add(60, Ordering::Relaxed);
    }

    async fn leave(self) {
        self.shutdown.drain();
        tokio::time::timeout(SOON, self.running).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_wrong_by_an_hour_sweeps_no_one_and_undoes_nothing() {
    let scene = Scene::with(|plan| plan.lease = ("300ms", "1s")).await;
    let (target, _) = scene.small("acme/clocks").await;
    let build = format!("commands = {{ build = \"{HELD}\" }}");
    scene.fleet.follow(&scene.git, &[("acme/clocks", &build)]).unwrap();
    let worker = scene.fleet.worker().await.unwrap();

    // The one whose clock is slow comes first: a tick of the past is superseded.
    for (round, minutes) in [(1, -120), (2, 60)] {
        let commit =
            scene.git.commit("acme/clocks", "main", &[("ROUND", &format!("{round}\n"))]).await.unwrap();
        let keeper = Keeper::start(&scene, minutes).await;
        let held = scene.until_held(&target).await;
        keeper.jump_an_hour_ahead();
        // By the time that this one is dead, the living have been looked at as often.
        let left = scene.left_behind(&format!("acme/left-{round}@main")).await;
        scene.until_gone(&left, || scene.story()).await;
        assert!(scene.is_there(&held).await, "the living are not swept: {}", worker.stderr());
        scene.let_go(&held).await;
        scene.until_promoted(&target, &commit).await;
        keeper.leave().await;
    }
    assert_eq!(scene.captures().await, 2);

    // Back an hour and a half: nothing that the other one did is undone.
    let newest = scene.promoted(&target).await;
    let keeper = Keeper::start(&scene, -90).await;
    let left = scene.left_behind("acme/left-last@main").await;
    scene.until_gone(&left, || scene.story()).await;
    let listed = settings::FleetFile::load(scene.fleet.fleet_file()).unwrap().targets.swap_remove(0).1;
    let job = scene.job_with(&target, |settings| *settings = listed);
    scene.publish(&job).await;
    assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Unchanged);
    assert_eq!(scene.promoted(&target).await, newest);
    keeper.leave().await;
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

impl Scene {
    async fn until_promoted(&self, target: &job::Target, commit: &str) {
        fleet_tests::eventually(super::scene::BUILD, &format!("{commit} is promoted"), async || {
            self.register.sync(SOON).await.map_err(|error| error.to_string())?;
            let state = self.register.get(target);
            let promoted = state.as_ref().and_then(|state| state.promoted.as_ref());
            if promoted.is_some_and(|prebuild| prebuild.commit.as_str() == commit) {
                Ok(())
            } else {
                Err(format!("{promoted:?}; {}", self.story()))
            }
        })
        .await;
    }
}
