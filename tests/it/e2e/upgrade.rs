//! What programs of 0.1 have left, as the bytes that they wrote: jobs, register, a sandbox whose holder is gone.

use fleet_tests::eventually;
use job::{JobId, OutcomeWord, PrebuildRecord, Target};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::scene::{BUILD, SOON, Scene};

/// Publishes what 0.1 published, as it did.
struct OldProgram<'a> {
    scene: &'a Scene,
    connection: Connection,
    channel: Channel,
    target: Target,
    left: PrebuildRecord,
}

impl<'a> OldProgram<'a> {
    async fn of(scene: &'a Scene, target: &Target, left: PrebuildRecord) -> Self {
        let url = scene.fleet.amqp_url();
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { scene, connection, channel, target: target.clone(), left }
    }

    /// Fills in what differs from fleet to fleet.
    fn of_this_fleet(&self, written: &str) -> String {
        [
            ("{fleet}", self.scene.fleet.name().to_owned()),
            ("{target}", self.target.to_string()),
            ("{url}", self.scene.git.url(self.target.path())),
            ("{name}", self.left.name.to_string()),
            ("{snapshot}", self.left.snapshot_id.clone()),
            ("{commit}", self.left.commit.to_string()),
            ("{fingerprint}", self.left.fingerprint.to_string()),
            ("{attempt}", self.left.attempt.to_string()),
        ]
        .iter()
        .fold(written.to_owned(), |written, (placeholder, value)| written.replace(placeholder, value))
    }

    async fn publish(&self, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let body = self.of_this_fleet(body).into_bytes();
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }

    /// A register of nothing but what 0.1 wrote; whoever connects next declares it.
    async fn write_register(&self) {
        let topology = self.scene.broker.topology();
        for stream in [topology.register_stream(), topology.checkpoints_stream()] {
            self.channel.queue_delete(stream.into(), QueueDeleteOptions::default()).await.unwrap();
        }
        let declaring = self.scene.fleet.ask(&["status"], SOON).await.unwrap();
        assert_eq!(declaring.code, Some(0), "{}", declaring.stderr);
        for line in include_str!("written-by-0.1/register.jsonl").lines() {
            let properties = BasicProperties::default().with_type("harvest.register".into());
            self.publish("", &topology.register_stream(), line, properties).await;
        }
    }

    async fn publish_job(&self) {
        let mut headers = FieldTable::default();
        headers.insert("x-attempt".into(), AMQPValue::LongLongInt(1));
        for (name, value) in [
            ("x-home", "ondemand"),
            ("x-first-enqueued", "2026-11-27T09:00:00Z"),
            ("x-enqueued", "2026-11-27T09:00:00Z"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_type("harvest.job".into())
            .with_message_id("de646fc1-00e4-5a0e-9607-fbb19824fe74".into())
            .with_headers(headers);
        let exchange = self.scene.broker.topology().jobs_exchange();
        self.publish(&exchange, "ondemand", include_str!("written-by-0.1/job.json"), properties).await;
    }

    /// A sandbox under the target's name whose holder has stopped beating.
    async fn leave_sandbox(&self) {
        let labels = serde_json::from_str(&self.of_this_fleet(include_str!("written-by-0.1/labels.json")));
        let name = self.scene.sandbox_name(&self.target);
        let wish = daytona::NewSandbox {
            labels: labels.unwrap(),
            ..daytona::NewSandbox::new(name.as_str(), "harvest-snapshot")
        };
        self.scene.daytona.create_sandbox(&wish).await.unwrap();
    }

    /// How the job ended the `nth` time that it was published.
    async fn end_of_job(&self, nth: usize) -> OutcomeWord {
        let id: JobId = "de646fc1-00e4-5a0e-9607-fbb19824fe74".parse().unwrap();
        eventually(BUILD, "the job of 0.1 ends", async || {
            let ends = self.scene.ends_of(id);
            let last: Vec<OutcomeWord> =
                ends.iter().filter(|end| end.is_last()).map(|end| end.outcome).collect();
            last.get(nth - 1).copied().ok_or_else(|| self.scene.story())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_0_1_left_is_gone_on_with() {
    let scene = Scene::with(|plan| plan.lease = ("300ms", "1s")).await;
    let (target, _) = scene.small("acme/upgraded").await;
    let worker = scene.fleet.worker().await.unwrap();
    let job = scene.job(&target);
    scene.publish(&job).await;
    assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Built);
    drop(worker);
    let old = OldProgram::of(&scene, &target, scene.promoted(&target).await).await;
    old.write_register().await;

    let answer = scene.fleet.ask_json(&["resolve", "acme/upgraded@main", "--json"]).await.unwrap();
    assert_eq!((&answer["name"], &answer["confirmed"]), (&old.left.name.to_string().into(), &true.into()));
    // What 0.1 promoted is up to date: nothing is built for it.
    old.publish_job().await;
    let _keeper = scene.fleet.keeper().await.unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(old.end_of_job(1).await, OutcomeWord::Unchanged);
    assert_eq!(scene.captures().await, 1);

    // And what it had under way is taken over.
    scene.git.commit("acme/upgraded", "main", &[("README.md", "newer\n")]).await.unwrap();
    old.leave_sandbox().await;
    old.publish_job().await;
    assert_eq!(old.end_of_job(2).await, OutcomeWord::Built);
    let promoted = scene.promoted(&target).await;
    assert_ne!(promoted.name, old.left.name);
    assert_eq!(scene.state(&target).await.kept.len(), 1, "what 0.1 promoted is kept");

    // A worker of 0.1 that still runs writes a copy of what it has read.
    let stale = include_str!("written-by-0.1/register.jsonl").lines().last().unwrap();
    let properties = BasicProperties::default().with_type("harvest.register".into());
    old.publish("", &scene.broker.topology().register_stream(), stale, properties).await;
    assert_eq!(scene.promoted(&target).await.name, promoted.name);
    old.connection.close(200, "done".into()).await.unwrap();
    scene.nothing_leaks().await;
}
