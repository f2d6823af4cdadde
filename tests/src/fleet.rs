//! A whole fleet of real programs on this machine: RabbitMQ, sandboxd, git, a producer, workers, harvestctl.
//!
//! Everything lives in one directory and dies with its owner. The harness still knows no crate of the product: programs are
//! told by files and variables, and asked through harvestctl, as people do.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::git_server::GitServer;
use crate::npm_registry::NpmSettings;
use crate::processes::FleetProcess;
use crate::programs::Program;

/// How long a program may take to say that it is ready.
const READY: Duration = Duration::from_mins(4);

/// What a fleet is started with.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// Its name: part of every name it makes.
    pub name: String,
    /// Where RabbitMQ is.
    pub amqp_url: String,
    /// Where files and snapshots are kept.
    pub directory: PathBuf,
    /// The delay queues.
    pub retry_delays: Vec<&'static str>,
    /// How often a holder shows that it lives, and how long it may not.
    pub lease: (&'static str, &'static str),
    /// How long a name is waited for whose sandbox sticks; as shipped where nothing is said.
    pub stuck: Option<&'static str>,
    /// Builds at once in a worker.
    pub slots: u32,
    /// How long a worker may finish after SIGTERM.
    pub drain: &'static str,
    /// How long a prebuild that is no longer kept stays after its last use.
    pub in_use: &'static str,
    /// Further lines of the section `[keeper]` of producer.toml.
    pub keeper_lines: String,
    /// More lines for worker.toml.
    pub worker_lines: String,
    /// More flags for sandboxd.
    pub sandboxd_flags: Vec<OsString>,
    /// The registry that sandboxes ask for packages, where they share one.
    pub npm: Option<NpmSettings>,
    /// Variables of the worker: tokens and secrets.
    pub secrets: Vec<(&'static str, String)>,
    /// What each of them is for: the variable, and the lines of its section in the worker's settings.
    pub secret_rules: Vec<(String, String)>,
    /// Variables of every program, such as OTEL_*.
    pub variables: Vec<(&'static str, String)>,
}

impl FleetPlan {
    /// Quick retries and leases, one slot.
    pub fn new(name: &str, amqp_url: &str, directory: &Path) -> Self {
        Self {
            name: name.to_owned(),
            amqp_url: amqp_url.to_owned(),
            directory: directory.to_owned(),
            retry_delays: vec!["300ms", "900ms", "2s"],
            lease: ("500ms", "4s"),
            stuck: None,
            slots: 1,
            drain: "60s",
            in_use: "1h",
            keeper_lines: String::new(),
            worker_lines: String::new(),
            sandboxd_flags: Vec::new(),
            npm: NpmSettings::of_this_run(),
            secrets: Vec::new(),
            secret_rules: Vec::new(),
            variables: Vec::new(),
        }
    }
}

/// A fleet without workers or producer; start as many as the story needs.
#[derive(Debug)]
pub struct Fleet {
    plan: FleetPlan,
    sandboxd: FleetProcess,
    api_url: String,
    api_key: String,
}

/// What harvestctl answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What went wrong.
    pub stderr: String,
}

impl Answer {
    /// The answer as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("harvestctl said {}\n{}", self.stdout, self.stderr))
    }
}

impl Fleet {
    /// Starts sandboxd and writes the settings.
    pub async fn start(plan: FleetPlan) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&plan.directory)?;
        let api_key = format!("dtn_{}", uuid::Uuid::new_v4().simple());
        let mut flags: Vec<OsString> = vec!["--data-dir".into(), plan.directory.join("sandboxd").into()];
        flags.extend(plan.sandboxd_flags.iter().cloned());
        if let Some(npm) = &plan.npm {
            flags.extend(["--expose-read-only".into(), npm.exposed().into()]);
        }
        let npm = plan.npm.as_ref().map(NpmSettings::variables).unwrap_or_default();
        let npm = npm.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let variables = npm.chain([("SANDBOXD_API_KEYS", OsString::from(&api_key))]);
        let mut sandboxd = FleetProcess::spawn(Program::Sandboxd, &flags, variables)?;
        let line = sandboxd.says("listening on http", READY).await?;
        let api_url = line.rsplit(' ').next().context("sandboxd names its address last")?.trim().to_owned();
        let fleet = Self { plan, sandboxd, api_url, api_key };
        fleet.write_settings()?;
        Ok(fleet)
    }

    /// Rules for the secrets of workers that start from now on, in place of the plan's.
    pub fn allow(&mut self, rules: &[(&str, &str)]) -> anyhow::Result<()> {
        let owned = |(name, lines): &(&str, &str)| ((*name).to_owned(), (*lines).to_owned());
        self.plan.secret_rules = rules.iter().map(owned).collect();
        self.write_settings()
    }

    /// The fleet's name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Where its RabbitMQ is.
    pub fn amqp_url(&self) -> &str {
        &self.plan.amqp_url
    }

    /// Where Daytona's API is.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// The key of the API.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// The sandbox server's process.
    pub fn sandboxd(&mut self) -> &mut FleetProcess {
        &mut self.sandboxd
    }

    /// Where the fleet keeps its files.
    pub fn directory(&self) -> &Path {
        &self.plan.directory
    }

    /// The fleet file that producers and harvestctl read.
    pub fn fleet_file(&self) -> PathBuf {
        self.plan.directory.join("fleet.toml")
    }

    /// Names these repositories of this server in the fleet file, with more lines for each.
    pub fn write_fleet_file(&self, clone_url: &str, repositories: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut text =
            format!("[defaults]\nevery = \"30m\"\nbranch = \"main\"\nclone_url = \"{clone_url}\"\n");
        for (name, lines) in repositories {
            write!(text, "\n[[repository]]\nname = \"{name}\"\n{lines}\n")?;
        }
        std::fs::write(self.fleet_file(), text)?;
        Ok(())
    }

    /// The same for every repository of a git server.
    pub fn follow(&self, git: &GitServer, repositories: &[(&str, &str)]) -> anyhow::Result<()> {
        self.write_fleet_file(&git.url_template(), repositories)
    }

    /// A worker.
    pub async fn worker(&self) -> anyhow::Result<FleetProcess> {
        self.worker_with([]).await
    }

    /// A worker with variables of its own.
    pub async fn worker_with<const N: usize>(
        &self,
        own: [(&'static str, &str); N],
    ) -> anyhow::Result<FleetProcess> {
        let config = self.plan.directory.join("worker.toml");
        let arguments = [OsString::from("--config"), config.into()];
        let secrets = self.plan.secrets.iter().map(|(name, value)| (*name, OsString::from(value)));
        let own = own.into_iter().map(|(name, value)| (name, OsString::from(value)));
        let variables = self.variables().chain(secrets).chain(own);
        let mut worker = FleetProcess::spawn(Program::Worker, arguments, variables)?;
        worker.says("worker takes jobs", READY).await?;
        Ok(worker)
    }

    /// A producer with these arguments; `[]` for one that goes on.
    pub fn producer(&self, arguments: &[&str]) -> anyhow::Result<FleetProcess> {
        let config = self.plan.directory.join("producer.toml");
        let given = [OsString::from("--config"), config.into()];
        FleetProcess::spawn(
            Program::Producer,
            given.into_iter().chain(arguments.iter().map(Into::into)),
            self.variables(),
        )
    }

    /// A producer that keeps the fleet, once it is the active one. Where no fleet file was written it fires nothing.
    pub async fn keeper(&self) -> anyhow::Result<FleetProcess> {
        let mut producer = self.standby()?;
        producer.says("this producer is the active one", READY).await?;
        Ok(producer)
    }

    /// The same, started and not waited for: another may be active.
    pub fn standby(&self) -> anyhow::Result<FleetProcess> {
        if !self.fleet_file().exists() {
            std::fs::write(self.fleet_file(), "[defaults]\nevery = \"30m\"\n")?;
        }
        self.producer(&[])
    }

    /// harvestctl, started.
    pub fn operator(&self, arguments: &[&str]) -> anyhow::Result<FleetProcess> {
        let config = self.plan.directory.join("producer.toml");
        let given = [OsString::from("--config"), config.into()];
        let secrets = self.plan.secrets.iter().map(|(name, value)| (*name, OsString::from(value)));
        let arguments = given.into_iter().chain(arguments.iter().map(Into::into));
        FleetProcess::spawn(Program::Harvestctl, arguments, self.variables().chain(secrets))
    }

    /// harvestctl, to its end.
    pub async fn ask(&self, arguments: &[&str], within: Duration) -> anyhow::Result<Answer> {
        let mut process = self.operator(arguments)?;
        let status = process.ended(within).await?;
        Ok(Answer { code: status.code(), stdout: process.stdout(), stderr: process.stderr() })
    }

    /// harvestctl, to a successful end.
    pub async fn ask_json(&self, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let answer = self.ask(arguments, READY).await?;
        ensure!(
            answer.code == Some(0),
            "harvestctl {arguments:?} exited with {:?}: {}",
            answer.code,
            answer.stderr
        );
        answer.json()
    }

    /// What sandboxd has counted: needs `--faults`.
    pub async fn requests(&self) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/faults/requests", self.api_url.trim_end_matches("/api"));
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// Plants a misbehaviour in sandboxd: needs `--faults`.
    pub async fn plant_fault(&self, fault: &serde_json::Value) -> anyhow::Result<()> {
        let url = format!("{}/faults", self.api_url.trim_end_matches("/api"));
        let answer = reqwest::Client::new().post(url).json(fault).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "sandboxd refused the fault ({status}): {}", answer.text().await?);
        Ok(())
    }

    /// Takes every planted misbehaviour out of sandboxd.
    pub async fn heal(&self) -> anyhow::Result<()> {
        let url = format!("{}/faults", self.api_url.trim_end_matches("/api"));
        reqwest::Client::new().delete(url).send().await?.error_for_status()?;
        Ok(())
    }

    fn variables(&self) -> impl Iterator<Item = (&str, OsString)> {
        let own = [
            ("HARVEST_FLEET", OsString::from(&self.plan.name)),
            ("AMQP_URL", OsString::from(&self.plan.amqp_url)),
            ("DAYTONA_API_URL", OsString::from(&self.api_url)),
            ("DAYTONA_API_KEY", OsString::from(&self.api_key)),
        ];
        own.into_iter().chain(self.plan.variables.iter().map(|(name, value)| (*name, OsString::from(value))))
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let plan = &self.plan;
        let delays: Vec<String> = plan.retry_delays.iter().map(|delay| format!("\"{delay}\"")).collect();
        let busy = plan.retry_delays.first().context("a fleet has a delay queue")?;
        let shared = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n\n[telemetry]\nlog_format = \"json\"\n\n[retry]\ndelays = [{}]\nbusy_delay = \"{busy}\"\n",
            delays.join(", ")
        );
        let (beat, stale) = plan.lease;
        let stuck = plan.stuck.map(|stuck| format!("stuck = \"{stuck}\"\n")).unwrap_or_default();
        let lease = format!("[lease]\nbeat = \"{beat}\"\nstale = \"{stale}\"\n{stuck}");
        let rule = |(name, lines): &(String, String)| format!("[secrets.{name}]\n{lines}\n");
        let rules: Vec<String> = plan.secret_rules.iter().map(rule).collect();
        let worker = format!(
            "slots = {}\n\n{shared}\n{lease}\n[drain]\ndeadline = \"{}\"\n\n\
             [commands]\npoll = \"500ms\"\n\n{}\n{}",
            plan.slots,
            plan.drain,
            plan.worker_lines,
            rules.concat()
        );
        let producer = format!(
            "fleet_file = \"{}\"\n\n{shared}\n{lease}\n[keeper]\nsweep = \"1s\"\ncollect = \"500ms\"\nin_use = \"{}\"\n{}\n\
             [schedule]\nreload = \"200ms\"\nstandby = \"200ms\"\n",
            self.fleet_file().display(),
            plan.in_use,
            plan.keeper_lines
        );
        std::fs::write(plan.directory.join("worker.toml"), worker)?;
        std::fs::write(plan.directory.join("producer.toml"), producer)?;
        Ok(())
    }
}
