//! One fleet with its git host and sandboxd, and a test's own look at its queues, register and ledger.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Broker, Ledger, ReadFrom, Register, WorkQueue};
use chrono::Utc;
use daytona::{Client, NewSandbox, Toolbox, pace};
use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::fleet::{Fleet, FleetPlan};
use fleet_tests::git_server::GitServer;
use fleet_tests::rabbit::{VirtualHost, virtual_host};
use fleet_tests::{guard, image_tools};
use job::{
    AttemptEnd, CheckoutSettings, CloneSettings, Commands, Envelope, FleetName, JOB_VERSION, Job, JobId,
    LedgerEntry, LedgerEvent, PrebuildRecord, Reason, Settings, Target, TargetState, Timeouts,
    ToolchainSettings,
};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

/// How long a build of a sample may take on a busy machine.
pub(crate) const BUILD: Duration = Duration::from_mins(10);
/// How long anything else may take.
pub(crate) const SOON: Duration = Duration::from_mins(3);

pub(crate) struct Scene {
    pub(crate) fleet: Fleet,
    pub(crate) git: GitServer,
    pub(crate) broker: Broker,
    pub(crate) register: Register,
    pub(crate) daytona: Client,
    told: Arc<Mutex<Vec<LedgerEntry>>>,
    _reading: AbortOnDropHandle<()>,
    // After all that uses it.
    host: Option<VirtualHost>,
    // Last: removed once nobody writes to it.
    _directory: TempDir,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// In a virtual host of the shared broker, with a plan changed to the test's needs.
    pub(crate) async fn with(change: impl FnOnce(&mut FleetPlan)) -> Self {
        let host = virtual_host().await;
        let scene = Self::at(&host.amqp_url(), change).await;
        Self { host: Some(host), ..scene }
    }

    /// On a broker of the test's own.
    pub(crate) async fn at(amqp_url: &str, change: impl FnOnce(&mut FleetPlan)) -> Self {
        let directory = guard::temporary_directory("e2e").unwrap();
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let mut plan = FleetPlan::new(&name, amqp_url, directory.path());
        plan.sandboxd_flags.push("--faults".into());
        plan.sandboxd_flags.extend(image_tools::flags().unwrap());
        change(&mut plan);
        let git = GitServer::start().await.unwrap();
        allow_on(&git, &mut plan);
        let delays =
            plan.retry_delays.iter().map(|delay| humantime::parse_duration(delay).unwrap()).collect();
        let fleet = Fleet::start(plan).await.unwrap();
        let settings = broker::BrokerSettings::new(
            SecretString::from(amqp_url),
            name.parse().unwrap(),
            delays,
            crate::sections::broker(),
        );
        let broker = Broker::connect(settings).await.unwrap();
        let told: Arc<Mutex<Vec<LedgerEntry>>> = Arc::default();
        let mut ledger = Ledger::follow(&broker, ReadFrom::First);
        let telling = told.clone();
        let reading = tokio::spawn(async move {
            while let Some(entry) = ledger.next().await {
                telling.lock().unwrap().push(entry);
            }
        });
        let daytona = Client::new(crate::sections::daytona(fleet.api_url(), fleet.api_key())).unwrap();
        Self {
            fleet,
            git,
            register: Register::follow(&broker),
            broker,
            daytona,
            told,
            _reading: AbortOnDropHandle::new(reading),
            host: None,
            _directory: directory,
        }
    }

    /// Every program connects anew, and declares what is not there.
    pub(crate) async fn close_connections(&self) {
        self.host.as_ref().expect("the shared broker").close_connections().await.unwrap();
    }

    pub(crate) fn fleet_name(&self) -> FleetName {
        self.fleet.name().parse().unwrap()
    }

    /// A repository with this sample on `main`; its target and first commit.
    pub(crate) async fn repository(&self, name: &str, sample: Sample) -> (Target, String) {
        let commit = self.git.create_repo(name, sample).await.unwrap();
        (format!("{name}@main").parse().unwrap(), commit)
    }

    pub(crate) fn settings(&self, target: &Target) -> Settings {
        Settings {
            clone: CloneSettings {
                url: self.git.url(target.path()),
                user: "x-access-token".into(),
                token_secret: "GITHUB_TOKEN".into(),
            },
            base_snapshot: "harvest-snapshot".into(),
            class: "default".into(),
            commands: Commands::default(),
            env: std::collections::BTreeMap::new(),
            secrets: std::collections::BTreeSet::new(),
            toolchain: ToolchainSettings::default(),
            checkout: CheckoutSettings::default(),
            timeouts: Timeouts::default(),
            owner: None,
            keep: 2,
        }
    }

    pub(crate) fn job(&self, target: &Target) -> Job {
        Job {
            version: JOB_VERSION,
            id: JobId::on_demand(),
            fleet: self.fleet_name(),
            target: target.clone(),
            reason: Reason::OnDemand,
            settings: self.settings(target),
            base_snapshot_id: None,
            forced: false,
        }
    }

    pub(crate) async fn publish(&self, job: &Job) {
        let envelope = Envelope::first(Utc::now(), std::collections::BTreeMap::new());
        let queue = match job.reason {
            Reason::Scheduled { .. } => WorkQueue::Refresh,
            Reason::OnDemand | Reason::Replay => WorkQueue::OnDemand,
        };
        self.broker.publisher().publish_job(job, &envelope, queue).await.unwrap();
    }

    /// Publishes an on-demand job and waits for its last attempt.
    pub(crate) async fn bring_up_to_date(&self, target: &Target) -> AttemptEnd {
        let job = self.job(target);
        self.publish(&job).await;
        self.last_end(&job).await
    }

    pub(crate) async fn last_end(&self, job: &Job) -> AttemptEnd {
        let what = format!("the last attempt of job {} for {} ends", job.id, job.target);
        eventually(BUILD, &what, async || {
            let ends = self.ends_of(job.id);
            match ends.last() {
                Some(end) if end.is_last() => Ok(end.clone()),
                Some(end) => {
                    Err(format!("{} attempts, the last {} -> {}", ends.len(), end.outcome, end.decision))
                }
                None => Err(format!("no attempt ended; the ledger: {}", self.story())),
            }
        })
        .await
    }

    pub(crate) fn ends_of(&self, job: JobId) -> Vec<AttemptEnd> {
        let of_job = |entry: LedgerEntry| match entry.event {
            LedgerEvent::AttemptEnded(end) if end.job == job => Some(*end),
            _ => None,
        };
        self.told.lock().unwrap().iter().cloned().filter_map(of_job).collect()
    }

    pub(crate) fn told(&self) -> Vec<LedgerEntry> {
        self.told.lock().unwrap().clone()
    }

    /// The last things the ledger tells, for messages about failures.
    pub(crate) fn story(&self) -> String {
        let told = self.told.lock().unwrap();
        told.iter().rev().take(5).map(|entry| format!("{:?}", entry.event)).collect::<Vec<_>>().join("; ")
    }

    pub(crate) async fn state(&self, target: &Target) -> TargetState {
        self.register.sync(SOON).await.unwrap();
        let state = self.register.get(target);
        TargetState::clone(&state.unwrap_or_else(|| panic!("the register knows nothing of {target}")))
    }

    pub(crate) async fn promoted(&self, target: &Target) -> PrebuildRecord {
        self.state(target).await.promoted.unwrap_or_else(|| panic!("{target} has no promoted prebuild"))
    }

    pub(crate) async fn sandboxes_created(&self) -> u64 {
        self.fleet.requests().await.unwrap()["events"]["sandbox created"].as_u64().unwrap_or(0)
    }

    /// Sandboxes that exist now.
    pub(crate) async fn sandboxes(&self) -> Vec<daytona::Sandbox> {
        self.daytona.list_sandboxes(&std::collections::BTreeMap::new()).await.unwrap()
    }

    /// Prebuilds that exist now.
    pub(crate) async fn prebuilds(&self) -> Vec<String> {
        let prefix = format!("hv.{}.", self.fleet.name());
        self.daytona
            .list_snapshots(&prefix)
            .await
            .unwrap()
            .into_iter()
            .map(|snapshot| snapshot.name)
            .collect()
    }

    /// Fails unless this prebuild alone stays. Daytona takes a while over a deletion that it has accepted.
    pub(crate) async fn only_prebuild_is(&self, name: &str) {
        self.only_prebuilds_are(&[name.to_owned()].into()).await;
    }

    /// Fails unless exactly these stay.
    pub(crate) async fn only_prebuilds_are(&self, names: &BTreeSet<String>) {
        eventually(SOON, "the other prebuilds are gone", async || {
            let left: BTreeSet<String> = self.prebuilds().await.into_iter().collect();
            if left == *names { Ok(()) } else { Err(format!("{left:?}, not {names:?}")) }
        })
        .await;
    }

    /// Fails if a sandbox stays.
    pub(crate) async fn nothing_leaks(&self) {
        eventually(SOON, "every sandbox is gone", async || {
            let left = self.sandboxes().await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// A session's sandbox from this prebuild, as the agent runtime would start it.
    pub(crate) async fn session(&self, prebuild: &PrebuildRecord) -> Session<'_> {
        let name = format!("session-{}", uuid::Uuid::new_v4().simple());
        let wish = NewSandbox::new(name, &prebuild.snapshot_id);
        let daytona::CreateOutcome::Created(sandbox) = self.daytona.create_sandbox(&wish).await.unwrap()
        else {
            panic!("no session from {}", prebuild.name);
        };
        let deadline = tokio::time::Instant::now() + SOON;
        let sandbox = self.daytona.wait_until_started(&sandbox.id, deadline, pace::COLD_START).await.unwrap();
        let toolbox = self.daytona.toolbox(&sandbox).await.unwrap();
        Session { client: &self.daytona, sandbox, toolbox }
    }
}

/// Rules for every secret that a rule may be about, for the scene's own git host.
fn allow_on(git: &GitServer, plan: &mut FleetPlan) {
    let variables = plan.secrets.iter().map(|(name, _)| *name);
    let ruled = variables.filter(|name| settings::reserved(name).is_none());
    let host = git.host();
    let lines = format!("git = [\"http://{host}/\"]\nrepositories = [\"http://{host}/\"]");
    plan.secret_rules = ruled.map(|name| (name.to_owned(), lines.clone())).collect();
}

/// A sandbox an agent works in.
pub(crate) struct Session<'scene> {
    client: &'scene Client,
    sandbox: daytona::Sandbox,
    toolbox: Toolbox,
}

impl Session<'_> {
    /// What a plain shell answers.
    pub(crate) async fn says(&self, command: &str) -> String {
        let executed = self.toolbox.execute(&daytona::Execute::new(command, SOON)).await.unwrap();
        assert_eq!(executed.exit_code, 0, "{command}: {}", executed.result);
        executed.result.trim().to_owned()
    }

    /// The same, to a command that is given an environment.
    pub(crate) async fn says_given<const N: usize>(
        &self,
        command: &str,
        given: [(&str, String); N],
    ) -> String {
        let envs = given.map(|(name, value)| (name.to_owned(), SecretString::from(value))).into();
        let execute = daytona::Execute { envs, ..daytona::Execute::new(command, SOON) };
        let executed = self.toolbox.execute(&execute).await.unwrap();
        assert_eq!(executed.exit_code, 0, "{command}: {}", executed.result);
        executed.result.trim().to_owned()
    }

    pub(crate) async fn end(self) {
        let deadline = tokio::time::Instant::now() + SOON;
        self.client.delete_and_confirm(&self.sandbox.id, deadline).await.unwrap();
    }
}
