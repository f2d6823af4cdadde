//! The harness is tested like a product: if it leaves something behind or lies about being ready, every other test does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::{Fault, GitServer};
use fleet_tests::leaks::{self, LeftProcess};
use fleet_tests::processes::FleetProcess;
use fleet_tests::rabbit::{Alarm, RabbitNode, SHARED_NODE_VARIABLE, shared_node};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const SOON: Duration = Duration::from_mins(2);

async fn channel(amqp_url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
    assert!(confirm.await.unwrap().is_ack());
}

async fn declare(channel: &Channel, queue: &str) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), options, arguments).await.unwrap();
}

async fn take(channel: &Channel, queue: &str) -> Vec<u8> {
    // A quorum queue elects its leader after the listener is up.
    eventually(SOON, "a message in the queue", async || {
        match channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await {
            Ok(Some(message)) => Ok(message.delivery.data.clone()),
            Ok(None) => Err(String::from("empty")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn a_node_keeps_confirmed_messages_over_stop_and_kill() {
    let mut node = RabbitNode::start().await.unwrap();
    let url = node.amqp_url("/");
    let (_connection, before) = channel(&node.amqp_url("/")).await;
    declare(&before, "kept").await;
    publish(&before, "kept", b"over a stop").await;
    node.restart().await.unwrap();

    let (_connection, between) = channel(&node.amqp_url("/")).await;
    assert_eq!(take(&between, "kept").await, b"over a stop");
    publish(&between, "kept", b"over a kill").await;
    node.kill9().unwrap();
    assert_eq!(node.pid(), None);
    node.restart().await.unwrap();

    let (_connection, after) = channel(&node.amqp_url("/")).await;
    assert_eq!(take(&after, "kept").await, b"over a kill");
    assert_eq!(node.amqp_url("/"), url);
}

#[tokio::test]
async fn a_dropped_node_leaves_neither_process_nor_file() {
    let node = RabbitNode::start().await.unwrap();
    let directory = node.directory().to_owned();
    let mut family = leaks::descendants(node.pid().unwrap());
    assert!(!family.is_empty(), "a node has helper processes");
    family.extend(leaks::processes_touching(&directory));
    drop(node);
    assert!(!directory.exists());
    all_gone(family, &directory).await;
}

#[tokio::test]
async fn an_alarm_blocks_publishers_until_it_is_cleared() {
    let node = RabbitNode::start().await.unwrap();
    let (connection, channel) = channel(&node.amqp_url("/")).await;
    declare(&channel, "blocked").await;
    for alarm in [Alarm::Memory, Alarm::Disk] {
        node.raise_alarm(alarm).await.unwrap();
        let publishing = publish(&channel, "blocked", b"late");
        let blocked = eventually(SOON, "the connection is blocked", async || {
            if connection.status().blocked() { Ok(()) } else { Err("it is not") }
        });
        let cleared = async {
            blocked.await;
            node.clear_alarm(alarm).await.unwrap();
        };
        tokio::time::timeout(SOON, async { tokio::join!(publishing, cleared) }).await.unwrap();
        assert_eq!(take(&channel, "blocked").await, b"late");
    }
}

#[tokio::test]
async fn all_tests_of_a_process_get_the_same_node() {
    let (one, other) = tokio::join!(shared_node(), shared_node());
    assert!(std::ptr::eq(one, other));
    let _connected = channel(&one.access().amqp_url("/")).await;
}

/// A process that ends as tests end, with a shared node.
struct Probe {
    child: Child,
    family: Vec<LeftProcess>,
    directory: PathBuf,
}

impl Probe {
    fn start(ending: &str) -> Self {
        let mut probe = Command::new(env!("CARGO_BIN_EXE_harness-probe"));
        // With a node of its own, whoever runs this test.
        Self::heard_from(probe.arg(ending).env_remove(SHARED_NODE_VARIABLE))
    }

    /// The same as a test process of a run: the node is the run's, and a process is between the two.
    fn start_in_a_run(ending: &str) -> Self {
        let mut run = Command::new(env!("CARGO_BIN_EXE_with-shared-node"));
        let between = "\"$0\" \"$1\"; exit $?";
        Self::heard_from(run.args(["sh", "-c", between, env!("CARGO_BIN_EXE_harness-probe"), ending]))
    }

    fn heard_from(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut directory = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut directory).unwrap();
        let directory = PathBuf::from(directory.trim());
        let family = leaks::descendants(rustix::process::Pid::from_child(&child));
        for part in ["beam.smp", "epmd", "erl_child_setup"] {
            assert!(family.iter().any(|process| process.command.contains(part)), "no {part} in {family:?}");
        }
        Self { child, family, directory }
    }

    fn end(&mut self) -> Option<i32> {
        writeln!(self.child.stdin.take().unwrap()).unwrap();
        self.child.wait().unwrap().code()
    }

    async fn left_nothing(self) {
        all_gone(self.family, &self.directory).await;
    }
}

async fn all_gone(family: Vec<LeftProcess>, directory: &Path) {
    eventually(SOON, "everything has ended and is removed", async || {
        let pids = family.iter().filter_map(|process| rustix::process::Pid::from_raw(process.pid));
        let running: Vec<_> = pids.filter(|&pid| leaks::is_running(pid)).collect();
        let touching = leaks::processes_touching(directory);
        let status = format!("running {running:?}, touching {touching:?}, directory {}", directory.exists());
        if running.is_empty() && touching.is_empty() && !directory.exists() { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn a_test_process_that_returns_leaves_nothing_behind() {
    let mut probe = Probe::start("return");
    assert_eq!(probe.end(), Some(0));
    probe.left_nothing().await;
}

#[tokio::test]
async fn a_test_process_that_panics_leaves_nothing_behind() {
    let mut probe = Probe::start("panic");
    assert_eq!(probe.end(), Some(101));
    probe.left_nothing().await;
}

#[tokio::test]
async fn a_killed_test_process_leaves_nothing_behind() {
    let mut probe = Probe::start("wait");
    probe.child.kill().unwrap();
    probe.child.wait().unwrap();
    probe.left_nothing().await;
}

#[tokio::test]
async fn a_killed_run_leaves_neither_its_node_nor_a_test_process() {
    let mut probe = Probe::start_in_a_run("wait");
    assert!(
        probe.family.iter().any(|process| process.command.contains("harness-probe")),
        "{:?}",
        probe.family
    );
    // Kept open: at its end the test process would leave by itself.
    let _input = probe.child.stdin.take();
    probe.child.kill().unwrap();
    probe.child.wait().unwrap();
    probe.left_nothing().await;
}

#[tokio::test]
async fn a_run_ends_as_its_command_does_and_takes_its_node_along() {
    let mut probe = Probe::start_in_a_run("panic");
    assert_eq!(probe.end(), Some(101));
    probe.left_nothing().await;
}

/// `git clone` as a user runs it; answers the commit, or git's complaint.
async fn clone(url: &str, into: &Path) -> Result<String, String> {
    let git = async |arguments: &[&str], directory: &Path| {
        let mut command = tokio::process::Command::new("git");
        command.args(arguments).current_dir(directory).kill_on_drop(true);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        let output = command.output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    };
    let checkout = into.join(uuid::Uuid::new_v4().to_string());
    git(&["clone", "--quiet", "--depth", "1", url, checkout.to_str().unwrap()], into).await?;
    git(&["rev-parse", "HEAD"], &checkout).await
}

#[tokio::test]
async fn the_git_server_serves_what_was_committed() {
    let into = tempfile::tempdir().unwrap();
    let server = GitServer::start().await.unwrap();
    let first = server.create_repo("acme/service", Sample::NpmService).await.unwrap();
    assert_eq!(clone(&server.url("acme/service"), into.path()).await, Ok(first.clone()));

    let second = server.commit("acme/service", "main", &[("src/new.js", "// new\n")]).await.unwrap();
    assert_ne!(first, second);
    let template = server.url_template().replace("{owner}", "acme").replace("{name}", "service");
    assert_eq!(clone(&template, into.path()).await, Ok(second.clone()));

    let third = server.force_push("acme/service", "main", &[("src/new.js", "// other\n")]).await.unwrap();
    assert_eq!(clone(&server.file_url("acme/service"), into.path()).await, Ok(third));
    let refs = "GET /info/refs?service=git-upload-pack";
    assert_eq!(server.requests("acme/service").iter().filter(|request| *request == refs).count(), 2);
}

#[tokio::test]
async fn the_git_server_wants_the_token_and_misbehaves_on_demand() {
    let into = tempfile::tempdir().unwrap();
    let server = GitServer::start().await.unwrap();
    let head = server.create_repo("acme/private", Sample::NoLockfile).await.unwrap();
    server.require_token("acme/private", "a-token-of-its-own").unwrap();
    let url = server.url("acme/private");
    let with = |password: &str| url.replace("http://", &format!("http://x-access-token:{password}@"));

    assert!(clone(&url, into.path()).await.unwrap_err().contains("could not read Username"));
    assert!(clone(&with("wrong"), into.path()).await.unwrap_err().contains("Authentication failed"));
    assert_eq!(clone(&with("a-token-of-its-own"), into.path()).await, Ok(head.clone()));

    server.set_fault("acme/private", Fault::Unavailable { times: 1 }).unwrap();
    assert!(clone(&with("a-token-of-its-own"), into.path()).await.unwrap_err().contains("503"));
    assert_eq!(clone(&with("a-token-of-its-own"), into.path()).await, Ok(head));
    assert!(clone(&server.url("acme/absent"), into.path()).await.unwrap_err().contains("not found"));

    server.set_fault("acme/private", Fault::Hang).unwrap();
    let asked = server.requests("acme/private").len();
    let url = with("a-token-of-its-own");
    tokio::select! {
        answer = clone(&url, into.path()) => panic!("a hanging server answered {answer:?}"),
        () = eventually(SOON, "the request has come", async || {
            if server.requests("acme/private").len() > asked { Ok(()) } else { Err("not yet") }
        }) => {}
    }
}

#[tokio::test]
async fn a_wait_that_runs_out_says_what_was_seen_last() {
    let mut looks = 0;
    let never = fleet_tests::eventually::within(Duration::from_millis(100), "the impossible", async || {
        looks += 1;
        Err::<(), _>(format!("look {looks}"))
    })
    .await
    .unwrap_err();
    assert!(never.to_string().contains(&format!("look {}", never.looks)), "{never}");
}

fn shell(script: &str) -> FleetProcess {
    FleetProcess::spawn_binary(Path::new("/bin/sh"), ["-c", script], [("GIVEN", "value".into())]).unwrap()
}

#[tokio::test]
async fn a_process_is_told_its_environment_and_signals_and_is_heard() {
    let mut process =
        shell("trap 'echo stopping >&2; exit 7' TERM; echo ready $GIVEN; while :; do sleep 0.05; done");
    assert_eq!(process.says("ready", SOON).await.unwrap(), "ready value");
    let status = process.terminate(SOON).await.unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!((process.stdout().as_str(), process.stderr().as_str()), ("ready value\n", "stopping\n"));
}

#[tokio::test]
async fn a_process_that_ends_silently_is_not_waited_for() {
    let mut process = shell("echo something else; exit 3");
    let error = process.says("ready", Duration::from_hours(1)).await.unwrap_err();
    assert!(format!("{error:#}").contains("something else"), "{error:#}");
    assert_eq!(process.ended(SOON).await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_dropped_process_is_dead() {
    let process = shell("echo ready; exec sleep 3600");
    let (pid, directory) = (process.pid(), process.directory().to_owned());
    assert!(leaks::is_running(pid));
    drop(process);
    assert!(!leaks::is_running(pid));
    assert!(!directory.exists());
}

#[test]
fn a_census_names_what_appeared() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("before"), "").unwrap();
    let census = leaks::Census::take([directory.path()]);
    assert!(census.appeared().is_empty());
    std::fs::write(directory.path().join("after"), "").unwrap();
    assert_eq!(census.appeared(), [directory.path().join("after")]);
}
