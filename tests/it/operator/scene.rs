//! A fleet on a broker of its own, harvestctl run in it, and what it said.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::operator::{Arguments, Exit, OperatorSettings, Reader, Terminal};
use broker::{Broker, BrokerSettings};
use clap::Parser;
use fleet_tests::eventually;
use fleet_tests::rabbit::{VirtualHost, virtual_host};
use job::{FleetName, Target};
use lifecycle::Shutdown;
use serde_json::Value;
use settings::Environment;
use tempfile::TempDir;

use crate::sections;

pub(super) const SOON: Duration = Duration::from_mins(3);
pub(super) const RETRY: Duration = Duration::from_millis(200);

#[derive(Clone, Default)]
pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What a command said, while it runs and afterwards.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub(super) out: Captured,
    pub(super) err: Captured,
}

impl Said {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out.text()).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    pub(super) async fn until(&self, needle: &str) {
        eventually(SOON, needle, async || {
            if format!("{self}").contains(needle) { Ok(()) } else { Err(format!("{self}")) }
        })
        .await;
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stdout:\n{}\nstderr:\n{}", self.out.text(), self.err.text())
    }
}

/// A fleet of its own on a broker.
pub(super) struct Scene {
    pub(super) fleet: FleetName,
    pub(super) folder: TempDir,
    pub(super) amqp_url: String,
    variables: Vec<(String, String)>,
    /// Where the broker is not the test's own.
    _host: Option<VirtualHost>,
}

impl Scene {
    /// In a virtual host of the shared broker.
    pub(super) async fn start() -> Self {
        let host = virtual_host().await;
        let scene = Self::at(host.amqp_url());
        Self { _host: Some(host), ..scene }
    }

    pub(super) fn at(amqp_url: String) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let folder = fleet_tests::guard::temporary_directory("operator").unwrap();
        let scene = Self {
            fleet: format!("o{}", &unique[..8]).parse().unwrap(),
            folder,
            amqp_url,
            variables: Vec::new(),
            _host: None,
        };
        scene.repositories("https://git.invalid/{owner}/{name}.git", &["acme/good", "acme/bad"]);
        scene
    }

    pub(super) fn repositories(&self, clone_url: &str, names: &[&str]) {
        let mut text = format!("[defaults]\nclone_url = \"{clone_url}\"\n");
        for name in names {
            text.extend(["[[repository]]\nname = \"", name, "\"\n"]);
        }
        std::fs::write(self.folder.path().join("fleet.toml"), text).unwrap();
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    pub(super) fn environment(&self) -> Environment {
        let fixed = [
            ("HARVEST_FLEET", self.fleet.to_string()),
            ("AMQP_URL", self.amqp_url.clone()),
            ("HARVEST_FLEET_FILE", self.folder.path().join("fleet.toml").display().to_string()),
            ("HARVEST_RETRY_DELAYS", "200ms,600ms".to_owned()),
            ("HARVEST_BROKER_CONNECT_TIMEOUT", "20s".to_owned()),
            ("USER", "tester".to_owned()),
        ];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value));
        Environment::from_pairs(fixed.into_iter().chain(self.variables.iter().cloned()))
    }

    pub(super) async fn run(&self, line: &str, said: &Said, shutdown: &Shutdown) -> Exit {
        let arguments = Arguments::try_parse_from(format!("harvestctl {line}").split(' ')).unwrap();
        let environment = self.environment();
        let settings = OperatorSettings::load(&environment, None);
        let mut terminal = Terminal::new(said.out.clone(), said.err.clone(), None, Reader::Person);
        let run = ::operator::run(arguments, settings, &environment, &mut terminal, shutdown);
        tokio::time::timeout(SOON * 2, run).await.unwrap_or_else(|_| panic!("`{line}` did not end: {said}"))
    }

    pub(super) async fn ask(&self, line: &str, expected: Exit) -> Said {
        let said = Said::default();
        let exit = self.run(line, &said, &Shutdown::new()).await;
        assert_eq!(exit, expected, "`{line}`: {said}");
        said
    }

    pub(super) async fn broker(&self) -> Broker {
        let delays = vec![RETRY, Duration::from_millis(600)];
        let settings = BrokerSettings::new(
            self.amqp_url.as_str().into(),
            self.fleet.clone(),
            delays,
            sections::broker(),
        );
        Broker::connect(settings).await.unwrap()
    }
}

pub(super) fn target(text: &str) -> Target {
    text.parse().unwrap()
}
