//! `make smoke-daytona`: one small public repository through the real Daytona, from submit to a sandbox started from the
//! result. For a person with a key; it costs minutes of two small sandboxes and a snapshot for a while.
//!
//! Invariant: however it ends, short of a kill, every sandbox, snapshot and queue it made is deleted, or named as left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use broker::{LockName, Topology};
use clap::Parser;
use daytona::{Client, ClientSettings, CreateOutcome, DaytonaSection, Execute, NewSandbox, Sandbox, pace};
use fleet_tests::guard;
use fleet_tests::processes::FleetProcess;
use fleet_tests::programs::Program;
use fleet_tests::rabbit::RabbitNode;
use job::{FleetName, Manifest, Target};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// `EX_UNAVAILABLE`: nothing was tested.
const NOT_TESTED: u8 = 69;
const READY: Duration = Duration::from_mins(1);
/// Starting a session takes under a second, or something is wrong; a cold region may take longer.
const SESSION: Duration = Duration::from_mins(5);
const ASIDE: Duration = Duration::from_mins(2);
/// A sandbox that is busy is deleted once it no longer is.
const CLEAN: Duration = Duration::from_mins(10);
/// On what this program makes itself; the worker's sandboxes have its own label.
const LABEL: &str = "harvest.smoke";
const FLEET_LABEL: &str = "harvest.fleet";
/// The delay queues: said here, so that what is declared is what is deleted.
const DELAYS: &str = "10s,30s,2m";

/// Builds one small public repository with the real Daytona, starts a sandbox from the prebuild, checks what is in it, and
/// deletes all of it. Needs DAYTONA_API_KEY; without one it says what it did not test and exits with 69.
#[derive(Debug, Parser)]
struct Arguments {
    /// The repository, `owner/name`.
    #[arg(long, env = "HARVEST_SMOKE_REPOSITORY", default_value = "johnpapa/node-hello")]
    repository: String,
    /// Its branch.
    #[arg(long, env = "HARVEST_SMOKE_BRANCH", default_value = "master")]
    branch: String,
    /// Where it is cloned from.
    #[arg(long, env = "HARVEST_SMOKE_CLONE_URL", default_value = "https://github.com/{owner}/{name}.git")]
    clone_url: String,
    /// The base snapshot, which has to exist in the account (snapshot/build.sh makes it).
    #[arg(long, env = "HARVEST_SMOKE_BASE_SNAPSHOT", default_value = "harvest-snapshot")]
    base_snapshot: String,
    /// How long the build may take.
    #[arg(long, env = "HARVEST_SMOKE_TIMEOUT", default_value = "30m")]
    timeout: String,
    /// Daytona's API.
    #[arg(long, env = "DAYTONA_API_URL", default_value = "https://app.daytona.io/api")]
    api_url: url::Url,
    /// The region; the organization's default where it is empty.
    #[arg(long, env = "DAYTONA_TARGET", default_value = "")]
    target: String,
    /// A RabbitMQ to use; a private node is started where it is empty.
    #[arg(long, env = "AMQP_URL", default_value = "", hide_env_values = true)]
    amqp_url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let key = std::env::var_os("DAYTONA_API_KEY").and_then(|key| key.into_string().ok()).unwrap_or_default();
    if key.is_empty() {
        say(&format!(
            "DAYTONA_API_KEY is not set: NOTHING was tested against the real Daytona. Not tested:\n\
             - the key, its permissions, the quotas, the base snapshot {}\n\
             - a build of {}@{} in a sandbox of Daytona's: checkout, toolchain, install, build, scrub\n\
             - capture as a snapshot, verification, promotion\n\
             - a sandbox started from the prebuild by its id; its manifest, its commit\n\
             - deletion of the sandbox and of the prebuild\n\
             The same path against sandboxd, which stands in for Daytona, is a test: smoke:: in `make test`.",
            arguments.base_snapshot, arguments.repository, arguments.branch
        ));
        return ExitCode::from(NOT_TESTED);
    }
    match smoke(arguments, SecretString::from(key)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What is tried with, and what has to be gone at the end.
struct Smoke {
    arguments: Arguments,
    key: SecretString,
    name: FleetName,
    target: Target,
    client: Client,
    broker: Option<RabbitNode>,
    directory: TempDir,
}

async fn smoke(arguments: Arguments, key: SecretString) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    // Ten characters, the most a fleet's name may have.
    let name: FleetName = format!("smoke-{}", &uuid::Uuid::new_v4().simple().to_string()[..4]).parse()?;
    let target = format!("{}@{}", arguments.repository, arguments.branch).parse()?;
    let section = DaytonaSection {
        api_url: arguments.api_url.clone(),
        target: arguments.target.clone(),
        request_timeout: Duration::from_secs(30),
        refused_key_pause: Duration::from_secs(30),
    };
    let settings = ClientSettings::new(section, key.clone());
    let directory = guard::temporary_directory("smoke")?;
    let mut smoke =
        Smoke { client: Client::new(settings)?, arguments, key, name, target, broker: None, directory };
    say(&format!(
        "fleet {}; should this program be killed, delete by hand what is named hv.{}.* and smoke-* in Daytona",
        smoke.name, smoke.name
    ));
    let tried = tokio::select! {
        tried = smoke.try_all() => tried,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
    };
    say("cleaning up");
    let cleaned = smoke.clean_up().await;
    match (tried, cleaned) {
        (Ok(()), Ok(())) => {
            say(
                "PASSED: built, captured, verified, promoted, started from by id, checked, and all of it deleted",
            );
            Ok(())
        }
        (Err(error), Ok(())) => Err(error),
        (Ok(()), Err(left)) => Err(left),
        (Err(error), Err(left)) => Err(error.context(format!("and cleaning up failed: {left:#}"))),
    }
}

impl Smoke {
    async fn try_all(&mut self) -> anyhow::Result<()> {
        let base = self.client.base_snapshot(&self.arguments.base_snapshot).await.with_context(|| {
            format!(
                "the base snapshot {} is needed first: make it in this account with snapshot/build.sh --create-snapshot, or name \
                 another (HARVEST_SMOKE_BASE_SNAPSHOT)",
                self.arguments.base_snapshot
            )
        })?;
        say(&format!("base snapshot {} ({}) is active", base.name, base.id));
        if self.arguments.amqp_url.is_empty() {
            say("starting a private RabbitMQ node");
            let node = RabbitNode::start().await?;
            self.arguments.amqp_url = node.amqp_url("/");
            self.broker = Some(node);
        }
        self.write_settings()?;
        self.harvestctl(&["doctor"], READY, Show::Nothing).await.context("harvestctl doctor")?;
        say("starting a worker");
        let worker_file = self.directory.path().join("worker.toml");
        let mut worker = FleetProcess::spawn(
            Program::Worker,
            [OsString::from("--config"), worker_file.into()],
            self.variables(),
        )?;
        worker.says("worker takes jobs", READY).await?;
        let prebuild = self.build().await?;
        self.look_into(&prebuild).await?;
        let status = worker.terminate(ASIDE).await?;
        ensure!(status.success(), "the worker left with {status}:\n{}", worker.stderr());
        Ok(())
    }

    /// Submits the job, waits for its end, and answers what harvestctl then says to start from.
    async fn build(&self) -> anyhow::Result<Value> {
        let repository = self.target.to_string();
        say(&format!("$ harvestctl submit {repository} --wait"));
        let bound = humantime::parse_duration(&self.arguments.timeout).context("--timeout")?;
        let submit = ["submit", &repository, "--wait", "--timeout", &self.arguments.timeout];
        self.harvestctl(&submit, bound + READY, Show::Lines).await.context("harvestctl submit")?;
        let answer = self.harvestctl(&["resolve", &repository, "--json"], READY, Show::Nothing).await?;
        let prebuild: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        let text = |name: &str| prebuild[name].as_str().unwrap_or("?").to_owned();
        say(&format!("promoted: {} of commit {}", text("name"), text("commit")));
        Ok(prebuild)
    }

    /// Starts a sandbox from the prebuild as a session would, and looks what is in it.
    async fn look_into(&self, prebuild: &Value) -> anyhow::Result<()> {
        let field = |name: &str| {
            prebuild[name].as_str().with_context(|| format!("resolve names no {name}: {prebuild}"))
        };
        let began = Instant::now();
        let wish = NewSandbox {
            labels: self.labels(LABEL),
            ttl: Duration::from_hours(1),
            ..NewSandbox::new(format!("{}-session", self.name), field("snapshot_id")?)
        };
        let CreateOutcome::Created(sandbox) = self.client.create_sandbox(&wish).await? else {
            bail!("there is a sandbox named {} already", wish.name)
        };
        let started =
            self.client.wait_until_started(&sandbox.id, Instant::now() + SESSION, pace::COLD_START).await?;
        say(&format!("a sandbox of it is up after {} ms", began.elapsed().as_millis()));
        let manifest = self.says(&started, "cat /workspace/.harvest/manifest.json").await?;
        let manifest: Manifest = serde_json::from_str(&manifest).context("its manifest")?;
        let head = self.says(&started, &format!("git -C '{}' rev-parse HEAD", manifest.path)).await?;
        ensure!(
            manifest.fleet == self.name
                && manifest.target == self.target
                && manifest.prebuild.to_string() == field("name")?,
            "the manifest is another prebuild's: {} of {}, by fleet {}",
            manifest.prebuild,
            manifest.target,
            manifest.fleet
        );
        ensure!(
            manifest.commit.as_str() == field("commit")? && head == field("commit")?,
            "the commit is {head} in the checkout, {} in the manifest, {} in the register",
            manifest.commit.as_str(),
            field("commit")?
        );
        say(&format!("its manifest and its checkout are of {head}"));
        Ok(())
    }

    async fn says(&self, sandbox: &Sandbox, command: &str) -> anyhow::Result<String> {
        let toolbox = self.client.toolbox(sandbox).await?;
        let executed = toolbox.execute(&Execute::new(command, READY)).await?;
        ensure!(executed.exit_code == 0, "{command}: {}", executed.result);
        Ok(executed.result.trim().to_owned())
    }

    /// Deletes whatever bears this fleet's name, goes on past what cannot be, and names what is left.
    async fn clean_up(&mut self) -> anyhow::Result<()> {
        let mut left = Vec::new();
        if let Err(error) = self.delete_from_daytona().await {
            left.push(format!("in Daytona: {error:#}"));
        }
        if let Some(mut node) = self.broker.take() {
            node.stop().await?;
        } else if !self.arguments.amqp_url.is_empty()
            && let Err(error) = self.delete_queues().await
        {
            left.push(format!("in RabbitMQ, named harvest.{}.*: {error:#}", self.name));
        }
        ensure!(left.is_empty(), "{}", left.join("; "));
        Ok(())
    }

    async fn delete_from_daytona(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CLEAN;
        // Sandboxes first: one of them may be captured right now.
        for sandbox in self.sandboxes().await? {
            say(&format!("deleting the sandbox {}", sandbox.name));
            self.client.delete_and_confirm(&sandbox.id, deadline).await?;
        }
        let prefix = format!("hv.{}.", self.name);
        for snapshot in self.client.list_snapshots(&prefix).await? {
            if snapshot.name.starts_with(&prefix) {
                say(&format!("deleting the snapshot {}", snapshot.name));
                self.client.delete_snapshot_and_confirm(&snapshot.id, deadline).await?;
            }
        }
        let sandboxes = self.sandboxes().await?.into_iter().map(|sandbox| sandbox.name);
        let snapshots = self.client.list_snapshots(&prefix).await?.into_iter().map(|snapshot| snapshot.name);
        let left: Vec<String> = sandboxes.chain(snapshots).collect();
        ensure!(left.is_empty(), "still there: {}", left.join(", "));
        Ok(())
    }

    async fn sandboxes(&self) -> anyhow::Result<Vec<Sandbox>> {
        let mut all = self.client.list_sandboxes(&self.labels(FLEET_LABEL)).await?;
        all.extend(self.client.list_sandboxes(&self.labels(LABEL)).await?);
        Ok(all)
    }

    fn labels(&self, label: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(label.to_owned(), self.name.to_string())])
    }

    async fn delete_queues(&self) -> anyhow::Result<()> {
        let delays: Result<Vec<Duration>, _> = DELAYS.split(',').map(humantime::parse_duration).collect();
        let topology = Topology::new(&self.name, &delays?);
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&self.arguments.amqp_url, properties).await?;
        let channel = connection.create_channel().await?;
        let locks = [LockName::Producer, LockName::DeadLetters].map(|lock| topology.lock_queue(lock));
        for queue in topology.queues().iter().map(|queue| &queue.name).chain(&locks) {
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in topology.exchanges() {
            channel.exchange_delete(exchange.name.as_str().into(), ExchangeDeleteOptions::default()).await?;
        }
        connection.close(200, "".into()).await?;
        Ok(())
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let directory = self.directory.path();
        let fleet = format!(
            "[defaults]\nevery = \"30m\"\nbase_snapshot = {:?}\nclone_url = {:?}\n\n[[repository]]\nname = {:?}\nbranch = {:?}\n",
            self.arguments.base_snapshot,
            self.arguments.clone_url,
            self.arguments.repository,
            self.arguments.branch
        );
        std::fs::write(directory.join("fleet.toml"), fleet)?;
        std::fs::write(directory.join("worker.toml"), "slots = 1\n\n[http]\nlisten = \"127.0.0.1:0\"\n")?;
        Ok(())
    }

    fn variables(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        [
            ("HARVEST_FLEET", self.name.to_string()),
            ("HARVEST_FLEET_FILE", self.directory.path().join("fleet.toml").display().to_string()),
            ("HARVEST_RETRY_DELAYS", DELAYS.to_owned()),
            ("HARVEST_RETRY_BUSY_DELAY", "10s".to_owned()),
            ("AMQP_URL", self.arguments.amqp_url.clone()),
            ("DAYTONA_API_URL", self.arguments.api_url.to_string()),
            ("DAYTONA_API_KEY", self.key.expose_secret().to_owned()),
            ("DAYTONA_TARGET", self.arguments.target.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (name, OsString::from(value)))
    }

    /// What harvestctl answers; an error, with all that it said, unless it ends well.
    async fn harvestctl(&self, arguments: &[&str], within: Duration, show: Show) -> anyhow::Result<String> {
        let mut process = FleetProcess::spawn(Program::Harvestctl, arguments, self.variables())?;
        let (deadline, mut shown) = (Instant::now() + within, 0);
        let status = loop {
            let ended = process.ended(Duration::from_millis(300)).await;
            let output = process.stdout();
            let complete = output.rfind('\n').map_or(shown, |end| end + 1).max(shown);
            if matches!(show, Show::Lines) {
                output[shown..complete].lines().for_each(|line| say(&format!("  {line}")));
            }
            shown = complete;
            match ended {
                Ok(status) => break status,
                Err(_) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        };
        ensure!(status.success(), "{status}\n{}{}", process.stdout(), process.stderr());
        Ok(process.stdout())
    }
}

/// Whether lines are shown as they come.
#[derive(Debug, Clone, Copy)]
enum Show {
    Lines,
    Nothing,
}

fn say(line: &str) {
    // Somebody who closes the pipe has seen enough.
    drop(writeln!(std::io::stdout(), "{line}"));
}
