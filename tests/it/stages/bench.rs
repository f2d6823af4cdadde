//! One sandboxd, one git host, one sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daytona::{Client, CreateOutcome, NewSandbox, Toolbox, pace};
use fleet_tests::git_server::GitServer;
use fleet_tests::npm_registry::NpmSettings;
use fleet_tests::{guard, image_tools, started};
use job::{AttemptId, Commit, Settings, Target};
use sandboxd::Exposed;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::sandbox::{CommandSection, Environment, Redactor, Sandbox, SandboxWitness, Watching};
use worker::stages::baseline::Baseline;

const KEY: &str = "a-key-for-tests";
pub(super) const NAME: &str = "owner/name";
pub(super) const PATH: &str = "/workspace/name";

/// What a test of stages needs. Ends with the test.
pub(super) struct Bench {
    pub(super) git: GitServer,
    pub(super) toolbox: Toolbox,
    witness: SandboxWitness,
    pub(super) attempt: AttemptId,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), sandboxd::Error>>,
    _data: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::with(&image_tools::exposed().unwrap(), NpmSettings::of_this_run()).await
    }

    /// On this machine's own tools, so that a build has to fetch what it needs.
    pub(super) async fn without_image_tools() -> Self {
        Self::with(&[], NpmSettings::of_this_run()).await
    }

    /// One whose sandbox asks this registry for packages, whichever the run has.
    pub(super) async fn asking(npm: &NpmSettings) -> Self {
        Self::with(&image_tools::exposed().unwrap(), Some(npm.clone())).await
    }

    /// One whose base has these files of root's in /tmp.
    pub(super) async fn with_foreign_files(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self::of(&image_tools::exposed().unwrap(), NpmSettings::of_this_run(), names).await
    }

    async fn with(exposed: &[String], npm: Option<NpmSettings>) -> Self {
        Self::of(exposed, npm, Vec::new()).await
    }

    async fn of(exposed: &[String], npm: Option<NpmSettings>, foreign_files: Vec<String>) -> Self {
        let git = GitServer::start().await.unwrap();
        let data = guard::temporary_directory("stages").unwrap();
        let mut settings = sandboxd::Settings::new(data.path().join("data"));
        settings.foreign_files = foreign_files;
        settings.api_keys = vec![sandboxd::ApiKey::full(KEY)];
        settings.expose_read_only = exposed.iter().map(|text| Exposed::parse(text).unwrap()).collect();
        if let Some(npm) = npm {
            settings.expose_read_only.push(Exposed::parse(&npm.exposed()).unwrap());
            let variables = npm.variables().into_iter();
            settings.environment.extend(variables.map(|(name, value)| (name, value.into_string().unwrap())));
            settings.npm_user_config = npm.user_settings().or(settings.npm_user_config);
        }
        started::count("sandboxd servers in tests' own processes");
        let base = settings.base_snapshot.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(sandboxd::serve(settings, listener, shutdown.clone()));
        let client = Client::new(crate::sections::daytona(&url, KEY)).unwrap();
        let created = client.create_sandbox(&NewSandbox::new("stages", base)).await.unwrap();
        let CreateOutcome::Created(sandbox) = created else { panic!("{created:?}") };
        let deadline = Instant::now() + Duration::from_mins(1);
        let sandbox = client.wait_until_started(&sandbox.id, deadline, pace::STATE).await.unwrap();
        let toolbox = client.toolbox(&sandbox).await.unwrap();
        let witness = SandboxWitness::of(&client, &sandbox);
        Self { git, toolbox, witness, attempt: AttemptId::new(), shutdown, serving, _data: data }
    }

    /// The sandbox, knowing no secret.
    pub(super) fn sandbox(&self) -> Sandbox {
        self.sandbox_knowing(&[])
    }

    /// The sandbox, knowing these secrets.
    pub(super) fn sandbox_knowing(&self, secrets: &[&str]) -> Sandbox {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        let section = CommandSection { poll: Duration::from_millis(300) };
        let watching = Watching { first: Duration::from_millis(50), ..Watching::new(&section, 64 << 20) };
        let redactor = Arc::new(Redactor::of(&secrets));
        Sandbox::new(self.toolbox.clone(), self.witness.clone(), redactor, watching, self.attempt)
    }

    /// What a script prints in the sandbox; it must succeed.
    pub(super) async fn prints(&self, script: &'static str) -> String {
        let timeout = Duration::from_secs(50);
        let executed =
            self.sandbox().short(job::Stage::Verify, script, &Environment::new(), timeout).await.unwrap();
        assert_eq!(executed.exit_code, 0, "{script}: {}", executed.result);
        executed.result.trim().to_owned()
    }

    /// What lies in the sandbox now, with an empty commit as its checkout, for a scrub to put back.
    pub(super) async fn baseline(&self) -> Baseline {
        self.prints(
            "git init --quiet --initial-branch=main /workspace/name && cd /workspace/name && \
             git -c user.name=t -c user.email=t@example.com commit --quiet --allow-empty -m m",
        )
        .await;
        Baseline::take(&self.sandbox(), PATH).await.unwrap()
    }

    pub(super) fn settings(&self) -> Settings {
        serde_json::from_value(
            serde_json::json!({ "clone": {"url": self.git.url(NAME)}, "base_snapshot": "base" }),
        )
        .unwrap()
    }

    /// Ends sandboxd before the runtime does, so that nothing of it outlives the test.
    pub(super) async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

pub(super) fn target(branch: &str) -> Target {
    Target::new("git.example", NAME, branch).unwrap()
}

pub(super) fn commit(text: &str) -> Commit {
    text.parse().unwrap()
}

pub(super) fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
