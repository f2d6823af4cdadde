//! The producer as a process, against a real broker: who fires, what is published, and what a bad fleet file does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_tests::eventually;
use fleet_tests::processes::FleetProcess;
use fleet_tests::programs::Program;
use fleet_tests::rabbit::{VirtualHost, virtual_host};
use futures::StreamExt as _;
use job::{FleetName, Job, JobId, Reason, Target, Tick};
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};
use tempfile::TempDir;

const SOON: Duration = Duration::from_mins(2);

/// One fleet on a broker of its own: a name and a fleet file.
struct Fleet {
    name: FleetName,
    host: VirtualHost,
    folder: TempDir,
    every: Duration,
}

impl Fleet {
    async fn new(every: Duration) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("p{}", &unique[..8]).parse().unwrap();
        let folder = fleet_tests::guard::temporary_directory("fleet-file").unwrap();
        Self { name, host: virtual_host().await, folder, every }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("fleet.toml")
    }

    /// Replaces the fleet file in one step, as a mounted file is.
    fn write(&self, rest: &str) {
        let every = humantime_seconds(self.every);
        let next = self.folder.path().join("next.toml");
        std::fs::write(&next, format!("[defaults]\nevery = \"{every}\"\n{rest}")).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    fn repositories(&self, names: &[&str]) {
        let entries: Vec<String> =
            names.iter().map(|name| format!("[[repository]]\nname = \"{name}\"\n")).collect();
        self.write(&entries.concat());
    }

    fn start(&self, arguments: &[&str]) -> FleetProcess {
        let variable = |text: &str| OsString::from(text);
        FleetProcess::spawn(
            Program::Producer,
            arguments,
            [
                ("HARVEST_FLEET", variable(self.name.as_str())),
                ("AMQP_URL", variable(&self.host.amqp_url())),
                ("HARVEST_FLEET_FILE", self.file().into_os_string()),
                ("HARVEST_HTTP_LISTEN", variable("127.0.0.1:0")),
                ("HARVEST_SCHEDULE_RELOAD", variable("100ms")),
                ("HARVEST_SCHEDULE_STANDBY", variable("100ms")),
                ("HARVEST_TELEMETRY_LOG_FORMAT", variable("json")),
            ],
        )
        .unwrap()
    }

    async fn jobs(&self) -> Published {
        let url = self.host.amqp_url();
        let queue = format!("harvest.{}.work.refresh", self.name);
        // A connection for each look: one on which a consume was refused is not used again.
        let (connection, consumer) = eventually(SOON, "the work queue is there", async || {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            let options = BasicConsumeOptions::default();
            let consumer = channel
                .basic_consume(queue.as_str().into(), "test".into(), options, FieldTable::default())
                .await?;
            Ok::<_, lapin::Error>((connection, consumer))
        })
        .await;
        Published { fleet: self.name.clone(), _connection: connection, consumer, ticks: BTreeMap::new() }
    }
}

fn humantime_seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

/// What was published for scheduled builds, taken as a worker takes it.
struct Published {
    fleet: FleetName,
    _connection: Connection,
    consumer: Consumer,
    /// Every message id of every tick, doubles included.
    ticks: BTreeMap<Tick, Vec<(Target, JobId)>>,
}

impl Published {
    async fn next(&mut self) -> (Tick, Target) {
        let delivery =
            tokio::time::timeout(SOON, self.consumer.next()).await.expect("a job in time").unwrap().unwrap();
        let job = Job::decode(&delivery.data, &self.fleet).unwrap();
        let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string);
        assert_eq!(message_id, Some(job.id.to_string()));
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        let Reason::Scheduled { tick } = job.reason else { panic!("{:?}", job.reason) };
        assert_eq!(job.id, JobId::scheduled(&self.fleet, tick, &job.target));
        self.ticks.entry(tick).or_default().push((job.target.clone(), job.id));
        (tick, job.target)
    }

    /// Takes jobs until `ticks` more ticks have at least this many jobs each.
    async fn whole_ticks(&mut self, ticks: usize, jobs: usize) {
        let before: BTreeSet<Tick> = self.ticks.keys().copied().collect();
        let whole = |published: &Self| {
            published.ticks.iter().filter(|(tick, seen)| !before.contains(tick) && seen.len() >= jobs).count()
        };
        while whole(self) < ticks {
            self.next().await;
        }
    }

    fn assert_nothing_doubled(&self) {
        for (tick, jobs) in &self.ticks {
            let ids: BTreeSet<JobId> = jobs.iter().map(|(_, id)| *id).collect();
            assert_eq!(ids.len(), jobs.len(), "{tick}: {jobs:?}");
        }
    }
}

/// Whether this producer said that it fired the tick, which it does once the register has it.
fn fired(producer: &FleetProcess, tick: Tick) -> bool {
    let tick = tick.to_string();
    producer.stderr().lines().any(|line| line.contains("tick fired") && line.contains(&tick))
}

fn shipped_fleet_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/fleet.toml")
}

#[tokio::test]
async fn a_dry_run_of_the_shipped_file_shows_three_jobs_and_no_broker() {
    let file = shipped_fleet_file();
    let mut producer = FleetProcess::spawn(
        Program::Producer,
        ["--once", "--dry-run", "--fleet-file", file.to_str().unwrap()],
        [("HARVEST_FLEET", OsString::from("demo"))],
    )
    .unwrap();
    assert!(producer.ended(SOON).await.unwrap().success());
    let fleet: FleetName = "demo".parse().unwrap();
    let jobs: Vec<Job> =
        producer.stdout().lines().map(|line| Job::decode(line.as_bytes(), &fleet).unwrap()).collect();
    let targets: Vec<String> = jobs.iter().map(|job| job.target.to_string()).collect();
    assert_eq!(
        targets,
        ["chat-app", "api-node", "app"].map(|name| format!("RelevanceAI/relevance-{name}@main"))
    );
}

#[tokio::test]
async fn wrong_settings_are_told_all_at_once_and_nothing_starts() {
    let mut producer = FleetProcess::spawn(
        Program::Producer,
        ["--once"],
        [
            ("HARVEST_SCHEDULE_RELOAD", OsString::from("soon")),
            ("AMQP_URL", OsString::from("amqp//u:hidden@h")),
        ],
    )
    .unwrap();
    assert_eq!(producer.ended(SOON).await.unwrap().code(), Some(2));
    let told = producer.stderr();
    for part in ["HARVEST_SCHEDULE_RELOAD", "AMQP_URL", "HARVEST_FLEET"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("hidden"), "{told}");
}

#[tokio::test]
async fn one_of_two_is_active_and_a_takeover_doubles_no_tick() {
    let fleet = Fleet::new(Duration::from_secs(2)).await;
    fleet.repositories(&["o/a", "o/b", "o/c"]);
    let mut first = fleet.start(&[]);
    first.says("this producer is the active one", SOON).await.unwrap();
    let mut second = fleet.start(&[]);
    second.says("another producer is active", SOON).await.unwrap();
    let mut published = fleet.jobs().await;
    published.whole_ticks(2, 3).await;

    let before_kill = *published.ticks.keys().next_back().unwrap();
    eventually(SOON, "the active one has recorded the tick", async || {
        if fired(&first, before_kill) { Ok(()) } else { Err(first.stderr()) }
    })
    .await;
    first.kill9().unwrap();
    second.says("this producer is the active one", Duration::from_secs(10)).await.unwrap();
    published.whole_ticks(2, 3).await;
    published.assert_nothing_doubled();
    assert!(!fired(&second, before_kill), "{}", second.stderr());
    let after = *published.ticks.keys().next_back().unwrap();
    assert!(published.ticks.keys().any(|tick| *tick > before_kill && fired(&second, *tick)), "up to {after}");
    assert!(second.terminate(SOON).await.unwrap().success());
}

#[tokio::test]
async fn missed_ticks_are_fired_once_on_return() {
    let fleet = Fleet::new(Duration::from_secs(2)).await;
    fleet.repositories(&["o/a", "o/b"]);
    let mut first = fleet.start(&[]);
    let mut published = fleet.jobs().await;
    published.whole_ticks(1, 2).await;
    first.says("tick fired", SOON).await.unwrap();
    assert!(first.terminate(SOON).await.unwrap().success());

    let mut last = *published.ticks.keys().next_back().unwrap();
    // Before it left it may have fired more than was waited for.
    while fired(&first, last.next(fleet.every)) {
        last = last.next(fleet.every);
        published.whole_ticks(1, 2).await;
    }
    let missed = last.next(fleet.every).next(fleet.every).next(fleet.every);
    eventually(SOON, "three ticks have passed", async || {
        let now = chrono::Utc::now();
        if now > missed.time() { Ok(()) } else { Err(format!("{now}, waiting for {missed}")) }
    })
    .await;
    let mut second = fleet.start(&[]);
    second.says("ticks were missed", SOON).await.unwrap();
    published.whole_ticks(2, 2).await;
    published.assert_nothing_doubled();
    let between = published.ticks.keys().filter(|tick| **tick > last && **tick < missed).count();
    assert_eq!(between, 0, "{:?}", published.ticks);
}

#[tokio::test]
async fn a_changed_fleet_file_counts_at_once_and_a_bad_one_never() {
    let fleet = Fleet::new(Duration::from_secs(1)).await;
    fleet.repositories(&["o/a"]);
    let mut producer = fleet.start(&[]);
    let mut published = fleet.jobs().await;
    published.whole_ticks(1, 1).await;

    fleet.write(
        "[[repository]]\nname = \"o/a\"\n[[repository]]\nname = \"wrong\"\n[[repository]]\nname = \"o/b\"\n",
    );
    let told = producer.says("is not a repository path", SOON).await.unwrap();
    assert!(told.contains("fleet.toml:6:8"), "{told}");
    published.whole_ticks(1, 2).await;

    fleet.write("[[repository]\n");
    producer.says("not TOML", SOON).await.unwrap();
    published.whole_ticks(2, 2).await;
    published.assert_nothing_doubled();
}

#[tokio::test]
async fn a_tick_is_skipped_while_the_queue_is_deep() {
    let fleet = Fleet::new(Duration::from_secs(1)).await;
    fleet.repositories(&["o/a", "o/b"]);
    let mut producer = fleet.start(&[]);
    let told = producer.says("tick skipped", SOON).await.unwrap();
    assert!(told.contains("6 jobs wait already, more than 4"), "{told}");

    let mut published = fleet.jobs().await;
    published.whole_ticks(4, 2).await;
    published.assert_nothing_doubled();
}

#[tokio::test]
async fn once_publishes_one_tick_says_so_and_ends() {
    let fleet = Fleet::new(Duration::from_mins(30)).await;
    fleet.repositories(&["o/a", "o/b"]);
    let mut once = fleet.start(&["--once"]);
    assert!(once.ended(SOON).await.unwrap().success());
    assert!(once.stdout().contains("o/a@main") && once.stdout().contains("o/b@main"), "{}", once.stdout());
    let mut published = fleet.jobs().await;
    published.whole_ticks(1, 2).await;

    let mut active = fleet.start(&[]);
    active.says("this producer is the active one", SOON).await.unwrap();
    let mut again = fleet.start(&["--once"]);
    assert_eq!(again.ended(SOON).await.unwrap().code(), Some(1));
    assert!(again.stderr().contains("another producer"), "{}", again.stderr());
    // None has Daytona's key: who fires or waits says what is not done.
    for producer in [&once, &active] {
        let said = producer.stderr();
        assert!(said.contains("nobody removes what is left over in Daytona"), "{said}");
    }
}
