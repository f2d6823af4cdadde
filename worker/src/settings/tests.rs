//! The worker's knobs also serve as the example for the machine that reads them: crate `settings`.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

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
fn mistakes(problems: &Problems, folder: &Path) -> String {
    problems.to_string().replace(&format!("{}/", folder.display()), "")
}

#[test]
fn the_shipped_file_is_what_the_worker_reads() {
    let WorkerFile { slots, lease, retry, .. } = WorkerSettings::load(&environment(&[]), None).unwrap().file;
    assert_eq!((slots, lease.beat), (4, Duration::from_secs(30)));
    assert_eq!(retry, RetryPolicy::example(), "config/worker.toml and RetryPolicy::example disagree");
}

#[test]
fn the_environment_wins_over_the_file_and_both_over_defaults() {
    let (_folder, path) = file(
        "slots = 8\n[lease]\nbeat = \"10s\"\nstale = \"60s\"\n[classes.large]\nbase_snapshot = \"big\"\n",
    );
    let environment = environment(&[
        ("HARVEST_SLOTS", "16"),
        ("HARVEST_RETRY_DELAYS", "1s, 2s"),
        ("HARVEST_QUEUES", "refresh, ondemand"),
        ("DAYTONA_API_URL", "http://127.0.0.1:3000/api"),
    ]);
    let worker = WorkerSettings::load(&environment, Some(&path)).unwrap();
    assert_eq!((worker.file.slots, worker.file.lease.beat.as_secs()), (16, 10));
    assert_eq!(worker.file.queues, [WorkQueue::OnDemand, WorkQueue::Refresh].into());
    assert_eq!(worker.file.retry.delays, [1, 2].map(Duration::from_secs));
    assert_eq!(worker.daytona.api_url.as_str(), "http://127.0.0.1:3000/api");
    assert_eq!(worker.file.classes["large"].base_snapshot.as_deref(), Some("big"));
    assert!(worker.file.classes.contains_key("default"));

    let from = |knob: &str| {
        let entry = worker.effective.entries().iter().find(|entry| entry.knob == knob).unwrap();
        entry.from.rsplit('/').next().unwrap_or_default().to_owned()
    };
    assert_eq!(from("slots"), "HARVEST_SLOTS");
    assert_eq!(from("lease.beat"), "settings.toml:3:8");
    assert_eq!(from("lease.stuck"), "default");
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
        Environment::from_pairs([("HARVEST_COMMANDS_POLL", "0s"), ("HARVEST_QUOTA_SANDBOXES", "x")]);
    let problems = WorkerSettings::load(&environment, Some(&path)).unwrap_err();
    insta::assert_snapshot!(mistakes(&problems, folder.path()));
}

#[test]
fn a_key_that_moved_is_refused_with_its_new_place() {
    let (folder, path) =
        file("[sandboxes]\nmax = 3\nreserve_snapshots = 1\n[daytona]\nrefused_key_pause = \"0s\"\n");
    let old = environment(&[("HARVEST_SANDBOXES_RESERVE_FOR_SESSIONS", "4")]);
    let told = mistakes(&WorkerSettings::load(&old, Some(&path)).unwrap_err(), folder.path());
    assert!(
        told.contains("HARVEST_SANDBOXES_RESERVE_FOR_SESSIONS: `sandboxes.reserve_for_sessions` is [quota]"),
        "{told}"
    );
    assert!(told.contains("`sandboxes.max` is [quota] sandboxes now"), "{told}");
    assert!(told.contains("`sandboxes.reserve_snapshots` is [quota] reserve_snapshots now"), "{told}");
    assert!(told.contains("`daytona.refused_key_pause` must be longer than nothing"), "{told}");
}

#[test]
fn a_name_is_waited_for_longer_than_a_start() {
    let (folder, path) = file("[sandboxes]\nstart_timeout = \"10m\"\n[lease]\nstuck = \"12m\"\n");
    let problems = WorkerSettings::load(&environment(&[]), Some(&path)).unwrap_err();
    let told = mistakes(&problems, folder.path());
    assert!(
        told.contains("settings.toml:4:9: `lease.stuck` must be at least sandboxes.start_timeout"),
        "{told}"
    );
}

#[test]
fn rules_of_secrets_are_checked_where_they_stand() {
    let (folder, path) = file(
        r#"[secrets.GITHUB_TOKEN]
git = ["https://github.com/acme/", "https://github.com/*"]
[secrets.NPM_TOKEN]
repositories = [
  "acme",
]
[secrets.DAYTONA_API_KEY]
repositories = ["acme/*"]
[secrets.anthropic_api_key]
repositories = ["acme/*"]
[secrets.EMPTY_TOKEN]
[secrets.WRONG_TOKEN]
repository = ["acme/*"]
[secrets.TYPE_TOKEN]
git = "https://github.com/"
[secrets.ghp_0123456789abcdef]
git = ["https://github.com/"]
[secrets.A-B]
git = ["https://github.com/"]
[secrets.OPEN_TOKEN]
git = ["https://ghp_0123456789abcdef@github.com/"]
"#,
    );
    let problems = WorkerSettings::load(&environment(&[]), Some(&path)).unwrap_err();
    let told = mistakes(&problems, folder.path());
    assert!(!told.contains("0123456789"), "a secret is shown: {told}");
    insta::assert_snapshot!(told);
    let (_folder, path) = file("[secrets]\nFLAT_TOKEN = \"acme/*\"\n");
    let problems = WorkerSettings::load(&environment(&[]), Some(&path)).unwrap_err();
    assert_eq!(problems.0[0].line(), Some(2), "{problems}");
}

#[test]
fn rules_of_secrets_are_read_and_shown() {
    let (_folder, path) = file(
        "[secrets.GITHUB_TOKEN]\ngit = [\"https://github.com/acme/\"]\n[secrets.NPM_TOKEN]\nrepositories = [\"acme/*\"]\n",
    );
    let environment = environment(&[("GITHUB_TOKEN", "ghp_hidden"), ("FORGOTTEN_TOKEN", "hidden")]);
    let worker = WorkerSettings::load(&environment, Some(&path)).unwrap();
    assert_eq!(worker.secrets.without_rule(), ["FORGOTTEN_TOKEN"]);
    assert_eq!(worker.secrets.rules_for_nothing(), ["NPM_TOKEN"]);
    let shown = worker.effective.to_string();
    assert!(shown.contains("secrets.GITHUB_TOKEN.git=[\"https://github.com/acme/\"]"), "{shown}");
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
