//! Rolling a new base snapshot out, taking it back, and losing one while jobs wait.

use daytona::{CaptureLimits, CreateOutcome, Execute, NewSandbox, SnapshotId, pace};
use fleet_tests::eventually;
use job::{FingerprintInputs, Job, LedgerEvent, OutcomeWord, PrebuildRecord, Target};
use lapin::options::BasicGetOptions;
use lapin::{Connection, ConnectionProperties};
use tokio::time::Instant;

use super::scene::{BUILD, SOON, Scene};

const BASE: &str = "harvest-snapshot";
const FIRST: &str = "harvest-snapshot.a";

/// A fleet whose only base is [`FIRST`], and whose ledger hides nothing for long.
async fn scene() -> Scene {
    Scene::with(|plan| {
        plan.sandboxd_flags.extend(["--base-snapshot".into(), FIRST.into()]);
        plan.worker_lines = "[ledger]\nbatch = \"300ms\"\n".into();
    })
    .await
}

impl Scene {
    async fn snapshot_id(&self, name: &str) -> SnapshotId {
        self.daytona.get_snapshot(name).await.unwrap().unwrap_or_else(|| panic!("no snapshot {name}")).id
    }

    /// A new base, as `snapshot/build.sh` makes one; a session can tell it from the others by `~/base`.
    async fn new_base(&self, name: &str) -> SnapshotId {
        let wish = NewSandbox::new("base", FIRST);
        let CreateOutcome::Created(sandbox) = self.daytona.create_sandbox(&wish).await.unwrap() else {
            panic!("no sandbox to make {name} from")
        };
        let deadline = Instant::now() + SOON;
        let sandbox = self.daytona.wait_until_started(&sandbox.id, deadline, pace::COLD_START).await.unwrap();
        let toolbox = self.daytona.toolbox(&sandbox).await.unwrap();
        let mark = Execute::new(format!("echo {name} > ~/base"), SOON);
        assert_eq!(toolbox.execute(&mark).await.unwrap().exit_code, 0);
        let snapshot = self.daytona.capture(&sandbox.id, name, CaptureLimits::default()).await.unwrap();
        self.daytona.delete_and_confirm(&sandbox.id, Instant::now() + SOON).await.unwrap();
        snapshot.id
    }

    async fn remove_base(&self, id: &SnapshotId) {
        self.daytona.delete_snapshot_and_confirm(id, Instant::now() + SOON).await.unwrap();
    }

    pub(super) async fn put_to_sleep(&self, id: &SnapshotId) {
        let url = format!("{}/snapshots/{id}/deactivate", self.fleet.api_url());
        let request = reqwest::Client::new().post(url).bearer_auth(self.fleet.api_key());
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// As a base that was made from an image wakes; what was captured, as here, never does.
    async fn wake(&self, id: &SnapshotId) {
        let url = format!("{}/faults/snapshots/{id}", self.fleet.api_url().trim_end_matches("/api"));
        let request = reqwest::Client::new().put(url).json(&serde_json::json!({ "state": "active" }));
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// One tick of a real producer.
    async fn tick(&self) {
        let mut producer = self.fleet.producer(&["--once"]).unwrap();
        assert!(producer.ended(SOON).await.unwrap().success(), "{}", producer.stderr());
    }

    fn unchanged(&self) -> usize {
        let told = self.told();
        let no_ops = told.iter().filter_map(|entry| match &entry.event {
            LedgerEvent::NoOps { jobs } => Some(jobs),
            _ => None,
        });
        no_ops.flatten().filter(|no_op| no_op.outcome == OutcomeWord::Unchanged).count()
    }

    /// A tick that finds every target as it should be.
    async fn idle_tick(&self, targets: usize) {
        let before = self.unchanged();
        self.tick().await;
        eventually(BUILD, "every job of the tick ends unchanged", async || {
            let grown = self.unchanged() - before;
            if grown == targets { Ok(()) } else { Err(format!("{grown}; {}", self.story())) }
        })
        .await;
    }

    /// Waits until what is promoted was built from this base.
    async fn promoted_from(&self, target: &Target, base: &SnapshotId) -> PrebuildRecord {
        let wanted = FingerprintInputs::new(&self.settings(target), base.as_str()).fingerprint();
        eventually(BUILD, &format!("a prebuild of {target} from {base} is promoted"), async || {
            let state = self.register.get(target);
            let promoted = state.as_ref().and_then(|state| state.promoted.clone());
            promoted
                .filter(|prebuild| prebuild.fingerprint == wanted)
                .ok_or_else(|| format!("{state:?}; {}", self.story()))
        })
        .await
    }

    /// The first message of a work queue.
    pub(super) async fn published(&self, queue: &str) -> Job {
        let url = self.fleet.amqp_url();
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = format!("harvest.{}.work.{queue}", self.fleet.name());
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap();
        Job::decode(&got.expect("a job was published").delivery.data, &self.fleet_name()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_base_rebuilds_all_once_and_taking_it_back_builds_none() {
    let scene = scene().await;
    let (one, two) = (scene.small("acme/one").await.0, scene.small("acme/two").await.0);
    let listed = [("acme/one", ""), ("acme/two", "")];
    scene.fleet.follow(&scene.git, &listed).unwrap();
    let old = scene.snapshot_id(FIRST).await;
    let _worker = scene.fleet.worker().await.unwrap();
    scene.tick().await;
    let from_old = (scene.promoted_from(&one, &old).await, scene.promoted_from(&two, &old).await);
    scene.idle_tick(2).await;

    let new = scene.new_base("harvest-snapshot.b").await;
    let made_by_hand = 1;
    let explained = scene.fleet.ask_json(&["explain", "acme/one", "--json"]).await.unwrap();
    assert_eq!(explained["base_snapshot"]["name"], "harvest-snapshot.b", "{explained}");
    assert_eq!(explained["base_snapshot"]["id"], new.as_str(), "{explained}");
    assert_eq!(explained["next_tick"]["verdict"], "builds", "{explained}");
    assert_eq!(explained["next_tick"]["because"], "inputs", "{explained}");
    scene.tick().await;
    let from_new = (scene.promoted_from(&one, &new).await, scene.promoted_from(&two, &new).await);
    let session = scene.session(&from_new.0).await;
    assert_eq!(session.says("cat ~/base").await, "harvest-snapshot.b");
    session.end().await;
    scene.idle_tick(2).await;
    let explained = scene.fleet.ask_json(&["explain", "acme/one", "--json"]).await.unwrap();
    assert_eq!(
        explained["next_tick"]["verdict"], "unchanged",
        "the fingerprint is the worker's: {explained}"
    );
    assert_eq!(scene.captures().await, 4 + made_by_hand, "each was built once on each base");

    // Back, by putting the new one to sleep; forth again, by waking it.
    let created = scene.sandboxes_created().await;
    scene.put_to_sleep(&new).await;
    scene.tick().await;
    assert_eq!(scene.promoted_from(&one, &old).await.name, from_old.0.name);
    assert_eq!(scene.promoted_from(&two, &old).await.name, from_old.1.name);
    scene.wake(&new).await;
    scene.tick().await;
    assert_eq!(scene.promoted_from(&one, &new).await.name, from_new.0.name);
    assert_eq!(scene.promoted_from(&two, &new).await.name, from_new.1.name);

    // Back for one target, by the exact name; for the other, by deleting the new one.
    let exactly = "base_snapshot = \"harvest-snapshot.a\"";
    scene.fleet.follow(&scene.git, &[("acme/one", exactly), ("acme/two", "")]).unwrap();
    scene.tick().await;
    assert_eq!(scene.promoted_from(&one, &old).await.name, from_old.0.name);
    assert_eq!(scene.promoted(&two).await.name, from_new.1.name);
    scene.remove_base(&new).await;
    scene.fleet.follow(&scene.git, &listed).unwrap();
    scene.tick().await;
    assert_eq!(scene.promoted_from(&two, &old).await.name, from_old.1.name);
    assert_eq!((scene.sandboxes_created().await, scene.captures().await), (created, 4 + made_by_hand));
    let doctor = scene.fleet.ask(&["doctor"], SOON).await.unwrap();
    assert!(doctor.stdout.contains(&format!("{FIRST} ({old}) is active")), "{}", doctor.stdout);
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_taken_away_while_jobs_wait_fails_none() {
    let scene = scene().await;
    let old = scene.snapshot_id(FIRST).await;
    let naming = |target: &Target, base: &SnapshotId| Job {
        base_snapshot_id: Some(base.to_string()),
        ..scene.job(target)
    };
    let gone = scene.new_base("harvest-snapshot.b").await;
    let one = scene.small("acme/one").await.0;
    let waiting = naming(&one, &gone);
    scene.publish(&waiting).await;
    scene.remove_base(&gone).await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let end = scene.last_end(&waiting).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.promoted_from(&one, &old).await;
    worker.says("the base snapshot that the job names is not used", SOON).await.unwrap();

    // The job's own base is used while it can be, whatever is newer.
    let new = scene.new_base("harvest-snapshot.c").await;
    for (name, base) in [("acme/two", &old), ("acme/three", &new)] {
        let target = scene.small(name).await.0;
        let job = naming(&target, base);
        scene.publish(&job).await;
        assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Built);
        scene.promoted_from(&target, base).await;
    }

    // Gone within the minute in which the worker takes it for known: it learns so from the sandbox that is not made.
    scene.remove_base(&new).await;
    let four = scene.small("acme/four").await.0;
    let job = naming(&four, &new);
    scene.publish(&job).await;
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.promoted_from(&four, &old).await;
    worker.says("the base snapshot was taken away meanwhile", SOON).await.unwrap();
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_name_their_base_and_go_without_while_daytona_is_away() {
    let scene = scene().await;
    scene.small("acme/one").await;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let base = scene.snapshot_id(FIRST).await.to_string();
    scene.tick().await;
    let scheduled = scene.published("refresh").await;
    assert_eq!(
        (scheduled.settings.base_snapshot.as_str(), scheduled.base_snapshot_id),
        (BASE, Some(base.clone()))
    );
    let answer = scene.fleet.ask(&["submit", "acme/one"], SOON).await.unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(scene.published("ondemand").await.base_snapshot_id, Some(base));

    let nowhere = ("DAYTONA_API_URL", "http://127.0.0.1:1/api".to_owned());
    let scene = Scene::with(|plan| plan.variables.push(nowhere)).await;
    scene.small("acme/one").await;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let mut producer = scene.fleet.producer(&["--once"]).unwrap();
    assert!(producer.ended(SOON).await.unwrap().success(), "{}", producer.stderr());
    let said = producer.stderr() + &producer.stdout();
    assert_eq!(said.matches("jobs go out without their base snapshot").count(), 1, "{said}");
    assert_eq!(scene.published("refresh").await.base_snapshot_id, None);
    let answer = scene.fleet.ask(&["submit", "acme/one"], SOON).await.unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(answer.stderr.contains("base snapshots are left to the workers"), "{}", answer.stderr);
    assert_eq!(scene.published("ondemand").await.base_snapshot_id, None);
}
