//! The programs' own knobs serve as the example, so the shipped files are tested with the code that reads them.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::{LogFormat, OperatorSettings, PlanSettings, ProducerSettings, QueueName, WorkerSettings};

const REQUIRED: [(&str, &str); 3] = [
    ("HARVEST_FLEET", "demo"),
    ("AMQP_URL", "amqp://u:hidden-pw@localhost/"),
    ("DAYTONA_API_KEY", "dtn_hidden"),
];

fn environment(more: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(REQUIRED.iter().chain(more).copied())
}

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Every mistake on a line, the folder left out.
fn mistakes(problems: &crate::Problems, folder: &Path) -> String {
    problems.to_string().replace(&format!("{}/", folder.display()), "")
}

#[test]
fn the_shipped_files_are_whole_and_agree_with_each_other() {
    let worker = WorkerSettings::load(&environment(&[]), None).unwrap();
    let producer = ProducerSettings::load(&environment(&[]), None).unwrap();
    assert_eq!((worker.slots, worker.lease.beat), (4, Duration::from_secs(30)));
    assert_eq!(
        worker.retry,
        job::RetryPolicy::default(),
        "config/worker.toml and RetryPolicy::default disagree"
    );
    assert_eq!(producer.retry, worker.retry, "the delays are queues: one value for the whole fleet");
    assert_eq!(producer.telemetry.log_format, LogFormat::Auto);
    assert_eq!(OperatorSettings::load(&environment(&[]), None).unwrap().fleet, worker.fleet);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let (_folder, path) = file(
        "slots = 8\n[lease]\nbeat = \"10s\"\nstale = \"60s\"\n[classes.large]\nbase_snapshot = \"big\"\n",
    );
    let environment = environment(&[
        ("HARVEST_SLOTS", "16"),
        ("HARVEST_RETRY_DELAYS", "1s, 2s"),
        ("HARVEST_QUEUES", "refresh, ondemand"),
        ("DAYTONA_API_URL", "http://127.0.0.1:3000/api"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
    ]);
    let worker = WorkerSettings::load(&environment, Some(&path)).unwrap();
    assert_eq!((worker.slots, worker.lease.beat.as_secs(), worker.lease.sweep.as_secs()), (16, 10, 300));
    assert_eq!(worker.queues, [QueueName::OnDemand, QueueName::Refresh].into());
    assert_eq!(worker.retry.delays, [1, 2].map(Duration::from_secs));
    assert_eq!(worker.daytona.api_url.as_str(), "http://127.0.0.1:3000/api");
    assert_eq!(worker.classes["large"].base_snapshot.as_deref(), Some("big"));
    assert!(worker.classes.contains_key("default"));
    let endpoint = worker.telemetry.opentelemetry("OTEL_EXPORTER_OTLP_ENDPOINT");
    assert_eq!(endpoint.as_deref(), Some("http://collector:4317"));

    let from = |knob: &str| {
        let entry = worker.effective.entries().iter().find(|entry| entry.knob == knob).unwrap();
        entry.from.rsplit('/').next().unwrap_or_default().to_owned()
    };
    assert_eq!(from("slots"), "HARVEST_SLOTS");
    assert_eq!(from("lease.beat"), "settings.toml:3:8");
    assert_eq!(from("lease.sweep"), "default");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let (folder, path) = file(
        r#"fleet = "Not A Fleet"
slots = "many"
sloths = 2
queues = ["resume", "onDemand"]
[lease]
beet = "30s"
beat = "soon"
stale = "10s"
[broker]
url = "amqp://u:p@h/"
[daytona]
api_url = "dtn_0123456789abcdef"
[drain]
deadline = 60
[retry]
delays = ["2m", "30s"]
[classes.default]
base_snapshot = 7
"#,
    );
    let environment =
        Environment::from_pairs([("HARVEST_COMMANDS_POLL", "0s"), ("HARVEST_SANDBOXES_MAX", "x")]);
    let problems = WorkerSettings::load(&environment, Some(&path)).unwrap_err();
    insta::assert_snapshot!(mistakes(&problems, folder.path()));
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_one_mistake() {
    let (folder, path) = file("slots = = 4\n");
    let problems = WorkerSettings::load(&environment(&[]), Some(&path)).unwrap_err();
    assert_eq!(problems.0[0].line(), Some(1), "{problems}");
    let missing = folder.path().join("nothing.toml");
    let problems = WorkerSettings::load(&environment(&[]), Some(&missing)).unwrap_err();
    assert_eq!(mistakes(&problems, folder.path()), "nothing.toml:1:1: cannot be read: entity not found");
}

#[test]
fn what_cannot_be_done_without_is_named() {
    let problems = WorkerSettings::load(&Environment::default(), None).unwrap_err();
    let told = problems.to_string();
    for name in ["HARVEST_FLEET", "AMQP_URL", "DAYTONA_API_KEY"] {
        assert!(told.contains(name), "{told}");
    }
    let plan = PlanSettings::load(&Environment::from_pairs([("HARVEST_FLEET", "demo")]), None).unwrap();
    assert_eq!(plan.fleet_file.to_str(), Some("config/fleet.toml"));
}

#[test]
fn a_wrong_broker_url_is_refused_without_being_shown() {
    let environment = environment(&[("AMQP_URL", "rabbit:hidden-pw@host")]);
    let told = ProducerSettings::load(&environment, None).unwrap_err().to_string();
    assert!(told.starts_with("AMQP_URL: ") && !told.contains("hidden"), "{told}");
}

#[test]
fn no_secret_is_shown() {
    let worker = WorkerSettings::load(&environment(&[("GITHUB_TOKEN", "ghp_hidden")]), None).unwrap();
    let shown = format!("{worker:?} {}", worker.effective);
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(worker.effective.to_string().contains("GITHUB_TOKEN=set"), "{}", worker.effective);
    assert_eq!(worker.broker.url.expose_secret(), "amqp://u:hidden-pw@localhost/");
}

#[test]
fn a_variable_that_nobody_reads_is_named() {
    let environment = environment(&[
        ("HARVEST_SLOTTS", "8"),
        ("HARVEST_SCHEDULE_RELOAD", "5s"),
        ("HARVEST_RABBITMQ_SERVICE_HOST", "10.0.0.1"),
    ]);
    let worker = WorkerSettings::load(&environment, None).unwrap();
    assert_eq!(worker.effective.unread(), ["HARVEST_SLOTTS"]);
}
