//! What strangers write: bytes that are no job, and names made to be run.

use broker::WorkQueue;
use job::{DeadLetterReason, FailureKind, Job, OutcomeWord, Target};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};

use super::leases::point_branch;
use super::scene::Scene;

/// Made by whatever should not have been run.
const CANARY: &str = "pwned-canary";

/// Somebody who publishes without our code.
pub(crate) struct Stranger {
    _connection: Connection,
    channel: Channel,
    exchange: String,
}

impl Stranger {
    pub(crate) async fn of(scene: &Scene) -> Self {
        let url = scene.fleet.amqp_url();
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { _connection: connection, channel, exchange: scene.broker.topology().jobs_exchange() }
    }

    pub(crate) async fn publish(&self, queue: WorkQueue, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let (exchange, key) = (self.exchange.as_str().into(), queue.as_str().into());
        let confirm = self.channel.basic_publish(exchange, key, options, body, properties).await.unwrap();
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// A job's bytes with one field written over.
fn with(job: &Job, field: &str, value: Value) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(&job.encode()).unwrap();
    message[field] = value;
    serde_json::to_vec(&message).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_job_are_dead_lettered_as_they_are() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/good").await;
    let job = scene.job_building(&target, "true");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "not a job"),
        (b"hello".to_vec(), "not a job"),
        (b"{\"version\":1}".to_vec(), "missing field"),
        (vec![0xff, 0xfe, 0x00, 0x9f, 0x92, 0x96], "not a job"),
        ([b"{\"version\":1,\"id\":\"".as_slice(), &[0xc3, 0x28], b"\"}"].concat(), "not a job"),
        ("[".repeat(100_000).into_bytes(), "not a job"),
        (vec![b' '; 300 * 1024], "has 307200 bytes"),
        (with(&job, "version", json!(99)), "version 99"),
        (with(&job, "fleet", json!("other")), "belongs to fleet `other`"),
        (with(&job, "target", json!("../../etc@main")), "not a host name"),
        (with(&job, "target", json!("acme/..@main")), "path segment"),
        (with(&job, "target", json!("acme/$(touch pwned-canary)@main")), "path segment"),
        (with(&job, "target", json!("acme/good@../../main")), "branch"),
        (with(&job, "target", json!("acme/good@--upload-pack=touch pwned-canary")), "branch"),
    ];
    let stranger = Stranger::of(&scene).await;
    for (body, _) in &cases {
        stranger.publish(WorkQueue::Refresh, body, BasicProperties::default()).await;
    }
    let _worker = scene.fleet.worker().await.unwrap();
    let letters = scene.dead_letters(u32::try_from(cases.len()).unwrap()).await;
    for (body, said) in &cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        let letter = letters.iter().find(|letter| letter.body == *body);
        let letter = letter.unwrap_or_else(|| panic!("no dead letter has these bytes: {shown}"));
        let record = letter.record.as_ref().unwrap();
        assert_eq!(
            (record.reason, record.queue.as_str()),
            (DeadLetterReason::Undecodable, "refresh"),
            "{shown}"
        );
        let error = record.decode_error.as_deref().unwrap();
        assert!(error.contains(said), "{shown}: {error}");
    }

    scene.publish(&job).await;
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    assert_eq!(scene.sandboxes_created().await, 2, "none but the job's own two");
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_read_do_not_stop_a_job() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/headers").await;
    let job = scene.job_building(&target, "true");
    let mut headers = FieldTable::default();
    for name in [
        "x-attempt",
        "x-history",
        "x-first-enqueued",
        "x-lease-seen",
        "x-leases-seen",
        "x-replay-id",
        "x-home",
        "traceparent",
    ] {
        headers.insert(name.into(), AMQPValue::LongString("$(touch pwned-canary) \u{1}".into()));
    }
    let stranger = Stranger::of(&scene).await;
    let properties = BasicProperties::default().with_headers(headers).with_message_id("not a uuid".into());
    stranger.publish(WorkQueue::OnDemand, &job.encode(), properties).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.queues_are_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_counts_too_far_costs_a_worker_nothing() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/numbers").await;
    let stranger = Stranger::of(&scene).await;
    let huge = vec![b'['; 17 << 20];
    stranger.publish(WorkQueue::Refresh, &huge, BasicProperties::default()).await;
    let mut headers = FieldTable::default();
    for name in ["x-attempt", "x-handed-back", "x-delivery-count"] {
        headers.insert(name.into(), AMQPValue::LongLongInt(i64::from(u32::MAX)));
    }
    headers.insert("x-first-enqueued".into(), AMQPValue::LongString("9999-01-01T00:00:00Z".into()));
    let failing = scene.job_with(&target, |settings| settings.class = "no-such-class".to_owned());
    let counting = BasicProperties::default().with_headers(headers);
    stranger.publish(WorkQueue::Refresh, &failing.encode(), counting).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let letters = scene.dead_letters(2).await;
    let part = letters.iter().find_map(|letter| letter.cut()).expect("the largest is kept in part");
    assert_eq!((part.bytes, part.kept), (huge.len() as u64, 1024));

    let good = scene.job_building(&target, "true");
    scene.publish(&good).await;
    let end = scene.last_end(&good).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_made_to_be_run_are_names() {
    let scene = Scene::start().await;
    let name = "A..b_-.C";
    let repository = format!("acme/{name}");
    scene.small(&repository).await;
    let worker = scene.fleet.worker().await.unwrap();
    let branches = [
        "feat/$(touch${IFS}pwned-canary);`touch${IFS}pwned-canary`&'x'\"y\"|z",
        "ветка/日本語-é🎉",
        "refs/heads/main",
        "a%2Fb#c&d=e+f",
    ];
    for (number, branch) in branches.into_iter().enumerate() {
        let side = format!("side-{number}");
        let commit = scene.git.commit(&repository, &side, &[("BRANCH", branch)]).await.unwrap();
        point_branch(&scene, &repository, branch, &commit);
        let target = Target::new("github.com", &repository, branch).unwrap();
        let job = scene.job_building(&target, "grep -c . BRANCH");
        scene.publish(&job).await;
        let end = scene.last_end(&job).await;
        assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{branch}: {end:?}");
        let prebuild = scene.promoted(&target).await;
        assert_eq!(prebuild.commit.as_str(), commit, "{branch}");

        let session = scene.session(&prebuild).await;
        let git = format!("git -C /workspace/{name}");
        assert_eq!(session.says(&format!("cat /workspace/{name}/BRANCH")).await, branch);
        assert_eq!(session.says(&format!("{git} symbolic-ref HEAD")).await, format!("refs/heads/{branch}"));
        assert_eq!(
            session
                .says(&format!("{git} for-each-ref --format='%(upstream)' \"$({git} symbolic-ref HEAD)\""))
                .await,
            format!("refs/remotes/origin/{branch}")
        );
        assert_eq!(session.says(&format!("{git} status --porcelain")).await, "");
        let found = session.says(&format!("find /workspace /home /tmp /var/tmp -name {CANARY}")).await;
        assert_eq!(found, "", "{branch} was run in a sandbox");
        session.end().await;
    }
    for directory in [worker.directory(), scene.fleet.directory()] {
        let found =
            std::process::Command::new("find").arg(directory).args(["-name", CANARY]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "run on this machine");
    }
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_url_that_is_a_command_is_refused() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/url").await;
    let worker = scene.fleet.worker().await.unwrap();
    let urls = [format!("ext::sh -c touch% {CANARY}"), format!("--upload-pack=touch {CANARY}")];
    for url in &urls {
        let job = scene.job_with(&target, |settings| settings.clone.url.clone_from(url));
        scene.publish(&job).await;
        let end = scene.last_end(&job).await;
        let failure = end.failure.as_ref().map(|failure| failure.id);
        assert_eq!((end.number, failure), (1, Some(FailureKind::CloneRepositoryMissing)), "{url}: {end:?}");
    }
    assert_eq!(scene.sandboxes_created().await, 0);
    assert!(!worker.directory().join("work").join(CANARY).exists());
}
