//! No secret gets out, whatever a repository does with those it is given: not into the prebuild, a log, a span, a message,
//! an answer, an error or a process list. Every search is shown to find what is there, or it would prove nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::leaks::{Disclosure, PlantedSecret, disclosures};
use fleet_tests::processes::FleetProcess;
use fleet_tests::rabbit::RabbitNode;
use job::{FailureKind, Job, OutcomeWord, Stage};
use telemetry::testing::Collector;
use tokio_util::task::AbortOnDropHandle;

use super::scene::{BUILD, SOON, Scene, Session};

/// Says what it was given in every form, and writes down what else it sees.
const TALKATIVE: &str = r#"
const fs = require("node:fs");
const token = process.env.NPM_PRIVATE_TOKEN;
if (!token) throw new Error("the build was not given its secret");
const forms = [token, encodeURIComponent(token), btoa(token), btoa("x-access-token:" + token)];
for (const form of forms) {
  console.log("stdout says " + form);
  console.error("stderr says " + form);
}
const { NPM_PRIVATE_TOKEN, ...others } = process.env;
const lines = Object.entries(others).map(([name, value]) => name + "=" + value);
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/environment.txt", lines.join("\n"));
"#;

/// The same, and then ends as when a registry is down: tried again, and given up after three attempts.
const UNLUCKY_END: &str = r#"
console.error("npm error network request to https://user:" + token + "@registry.example/left-pad failed, reason: connect ECONNREFUSED 192.0.2.1:443");
process.exit(1);
"#;

/// Keeps what it was given, once as it is and once as registries want it.
const HOARDING: &str = r#"
const fs = require("node:fs");
const token = process.env.NPM_PRIVATE_TOKEN;
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/plain.txt", "token = " + token);
fs.writeFileSync(process.env.HOME + "/hoarded-base64", "_auth=" + btoa("x-access-token:" + token));
"#;

/// Variables that only an agent's session may have.
const SESSION_VARIABLES: [&str; 4] =
    ["CLAUDE_CODE_OAUTH_TOKEN", "GEMINI_API_KEY", "LINEAR_API_KEY", "SENTRY_AUTH_TOKEN"];

/// In the repository, so that a search can be shown to reach what came from it.
const MARKER: &str = "a-marker-that-every-search-must-find";

/// A value that no other test has.
fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

/// Every secret of one fleet, by variable.
struct Planted(BTreeMap<&'static str, String>);

impl Planted {
    fn new() -> Self {
        let given = [
            ("GITHUB_TOKEN", fresh("ghp_")),
            ("NPM_PRIVATE_TOKEN", fresh("n/p+m=")),
            ("AMQP_PASSWORD", fresh("am/qp+")),
            ("OTLP_TOKEN", fresh("otlp-")),
        ];
        Self(given.into_iter().chain(SESSION_VARIABLES.map(|name| (name, fresh("session-")))).collect())
    }

    /// What the worker is given.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let names = ["GITHUB_TOKEN", "NPM_PRIVATE_TOKEN"].into_iter().chain(SESSION_VARIABLES);
        names.map(|name| (name, self.0[name].clone())).collect()
    }

    fn searched_for(&self, scene: &Scene) -> Vec<PlantedSecret> {
        let key = ("DAYTONA_API_KEY", scene.fleet.api_key().to_owned());
        self.0
            .clone()
            .into_iter()
            .chain([key])
            .map(|(name, value)| PlantedSecret::new(name, &value))
            .collect()
    }
}

/// Every command line that any process of this machine had while it was looked.
struct CommandLines {
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    _looking: AbortOnDropHandle<()>,
}

impl CommandLines {
    fn watch() -> Self {
        let seen: Arc<Mutex<BTreeSet<Vec<u8>>>> = Arc::default();
        let into = seen.clone();
        let looking = tokio::spawn(async move {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
                let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
                into.lock().unwrap().extend(lines);
            }
        });
        Self { seen, _looking: AbortOnDropHandle::new(looking) }
    }

    fn hold_none_of(&self, secrets: &[PlantedSecret]) {
        let seen = self.seen.lock().unwrap();
        let shown = |line: &[u8]| String::from_utf8_lossy(line).replace('\0', " ");
        // Of git itself, not of the script that calls it, which is in a command line too.
        for program in ["--depth 1 origin +", "npm ci", "scripts/build.js"] {
            assert!(seen.iter().any(|line| shown(line).contains(program)), "no `{program}` was seen to run");
        }
        let telling: Vec<String> = seen
            .iter()
            .filter(|line| secrets.iter().any(|secret| secret.form_in(line).is_some()))
            .map(|line| shown(line).chars().take(200).collect())
            .collect();
        assert_eq!(telling, [""; 0], "in a process list");
    }
}

/// The files under `place` that hold one of the patterns, by a search that is fast enough for whole file systems.
fn found_under(patterns: &str, place: &Path) -> Vec<String> {
    let mut search = Command::new("grep");
    search.env("LC_ALL", "C").args(["-rlaFs", "-f", "-", "--"]).arg(place);
    let mut search = search.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    search.stdin.take().unwrap().write_all(patterns.as_bytes()).unwrap();
    let found = search.wait_with_output().unwrap();
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

fn patterns(secrets: &[PlantedSecret]) -> String {
    secrets.iter().flat_map(PlantedSecret::patterns).collect::<Vec<_>>().join("\n")
}

/// Nothing under `place`, where `control` lies for all to see.
fn none_under(secrets: &[PlantedSecret], place: &Path, control: &str) {
    assert!(!found_under(control, place).is_empty(), "{control} is not in {}", place.display());
    assert_eq!(found_under(&patterns(secrets), place), [""; 0]);
}

async fn private_node(planted: &Planted) -> (RabbitNode, String) {
    let node = RabbitNode::start().await.unwrap();
    let password = &planted.0["AMQP_PASSWORD"];
    node.control(&["add_user", "harvest", password]).await.unwrap();
    node.control(&["set_permissions", "harvest", ".*", ".*", ".*"]).await.unwrap();
    let encoded: String = url::form_urlencoded::byte_serialize(password.as_bytes()).collect();
    let url = node.amqp_url("/").replace("guest:guest", &format!("harvest:{encoded}"));
    (node, url)
}

async fn repository(scene: &Scene, name: &str, build: &str) {
    scene.git.create_repo(name, Sample::NpmService).await.unwrap();
    scene.git.commit(name, "main", &[("scripts/build.js", build), ("README.md", MARKER)]).await.unwrap();
}

/// What harvestctl says of everything; it fails where it may.
async fn told_by_harvestctl(scene: &Scene, letter: &str) -> String {
    let asked: [&[&str]; 9] = [
        &["status"],
        &["status", "--json"],
        &["explain", "acme/talkative"],
        &["explain", "acme/unlucky", "--json"],
        &["explain", "acme/walled"],
        &["resolve", "acme/talkative", "--json"],
        &["dead-letters", "list"],
        &["dead-letters", "show", letter],
        &["dead-letters", "show", letter, "--json"],
    ];
    let mut told = Vec::new();
    for arguments in asked {
        let answer = scene.fleet.ask(arguments, SOON).await.unwrap();
        told.extend([answer.stdout, answer.stderr]);
    }
    told.concat()
}

fn nothing_in(secrets: &[PlantedSecret], what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} says nothing");
    let found: Vec<_> = secrets.iter().filter(|secret| secret.form_in(text.as_bytes()).is_some()).collect();
    assert!(found.is_empty(), "{found:?} in {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_jobs_leave() {
    let planted = Planted::new();
    let (node, url) = private_node(&planted).await;
    let collector = Collector::start().await;
    let mut scene = Scene::at(&url, |plan| {
        plan.secrets.extend(planted.variables());
        plan.variables.extend([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{}", planted.0["OTLP_TOKEN"])),
        ]);
    })
    .await;
    let secrets = planted.searched_for(&scene);
    repository(&scene, "acme/talkative", TALKATIVE).await;
    repository(&scene, "acme/unlucky", &[TALKATIVE, UNLUCKY_END].concat()).await;
    repository(&scene, "acme/walled", TALKATIVE).await;
    scene.git.require_token("acme/talkative", &planted.0["GITHUB_TOKEN"]).unwrap();
    scene.git.require_token("acme/unlucky", &planted.0["GITHUB_TOKEN"]).unwrap();
    scene.git.require_token("acme/walled", "another-token-that-nobody-has").unwrap();
    let given = r#"secrets = ["NPM_PRIVATE_TOKEN"]"#;
    let listed = [("acme/talkative", given), ("acme/unlucky", given), ("acme/walled", "")];
    scene.fleet.follow(&scene.git, &listed).unwrap();
    let mut worker = scene.fleet.worker().await.unwrap();
    let command_lines = CommandLines::watch();

    let submit = ["submit", "acme/talkative", "acme/unlucky", "--wait", "--timeout", "8m"];
    let submitted = scene.fleet.ask(&submit, Duration::from_mins(9)).await.unwrap();
    assert_eq!(submitted.code, Some(1), "one builds and one does not: {submitted:?}");
    let unlucky = scene.state(&"acme/unlucky@main".parse().unwrap()).await;
    let letter = unlucky.open_dead_letters.values().next().expect("an open dead letter").clone();
    let walled = scene.job(&"acme/walled@main".parse().unwrap());
    scene.publish(&walled).await;
    let refused = eventually(SOON, "the git host refuses our token", async || {
        scene.ends_of(walled.id).pop().and_then(|end| end.failure).ok_or("no attempt ended")
    })
    .await;
    assert_eq!(refused.id, FailureKind::CloneAuth, "{refused:?}");
    command_lines.hold_none_of(&secrets);

    let told = told_by_harvestctl(&scene, &letter.job.to_string()).await;
    assert!(told.contains("[redacted]"), "what the build said is shown, but for the secret: {told}");
    nothing_in(&secrets, "harvestctl's answers", &(told + &submitted.stdout + &submitted.stderr));
    let mut producer = scene.fleet.producer(&["--once"]).unwrap();
    assert!(producer.ended(SOON).await.unwrap().success());
    assert!(worker.terminate(SOON).await.unwrap().success());
    nothing_in(&secrets, "the spans", &format!("{:?}", collector.spans()));
    nothing_in(&secrets, "the ledger", &format!("{:?}", scene.told()));
    nothing_was_written(&secrets, &mut scene, &[&worker, &producer]);
    none_under(&secrets, node.directory(), &letter.job.to_string());
    in_a_session(&scene, &secrets, &planted).await;
}

/// In the logs of programs and on sandboxd's disk, which has the prebuilds.
fn nothing_was_written(secrets: &[PlantedSecret], scene: &mut Scene, programs: &[&FleetProcess]) {
    for program in programs {
        nothing_in(secrets, "a log", &(program.stdout() + &program.stderr()));
        assert_eq!(disclosures(secrets, &[program.directory()]).unwrap(), [] as [Disclosure; 0]);
    }
    let sandboxd = scene.fleet.sandboxd();
    nothing_in(secrets, "sandboxd's log", &(sandboxd.stdout() + &sandboxd.stderr()));
    let disk = scene.fleet.directory().join("sandboxd");
    none_under(secrets, &disk, MARKER);
}

/// In what a session is given: searched from within, as an agent could.
async fn in_a_session(scene: &Scene, secrets: &[PlantedSecret], planted: &Planted) {
    let prebuild = scene.promoted(&"acme/talkative@main".parse().unwrap()).await;
    let session = scene.session(&prebuild).await;
    nothing_is_kept(scene, &session).await;

    let seen = session.says("cat /workspace/talkative/dist/environment.txt").await;
    assert!(seen.lines().any(|line| line.starts_with("PATH=")), "{seen}");
    let own =
        ["GITHUB_TOKEN", "DAYTONA_API_KEY", "AMQP_URL", "OTEL_EXPORTER_OTLP_HEADERS", "HARVEST_PATTERNS"];
    for name in SESSION_VARIABLES.iter().chain(&own) {
        assert!(!seen.lines().any(|line| line.starts_with(&format!("{name}="))), "the build saw {name}");
    }

    // A search that also finds the one file that is written here.
    let search = r#"exec bash -c 'export LC_ALL=C; printenv CANARY >/tmp/canary
        grep -rlaFs -f <(printenv PATTERNS) -- /workspace "$HOME" /tmp /var/tmp
        find /workspace "$HOME" /tmp /var/tmp | grep -aF -f <(printenv PATTERNS); exit 0' </dev/null"#;
    let given = [("PATTERNS", patterns(secrets)), ("CANARY", planted.0["GITHUB_TOKEN"].clone())];
    assert_eq!(session.says_given(search, given).await, "/tmp/canary");
    session.end().await;
}

async fn nothing_is_kept(scene: &Scene, session: &Session<'_>) {
    let git = "git -C /workspace/talkative";
    assert_eq!(session.says(&format!("{git} remote get-url origin")).await, scene.git.url("acme/talkative"));
    let settings = session.says(&format!("{git} config --list --show-origin")).await.to_lowercase();
    assert!(settings.contains("remote.origin.url"), "{settings}");
    for kept in ["credential.", "extraheader", "authorization"] {
        assert!(!settings.contains(kept), "{settings}");
    }
    for file in [
        ".git-credentials",
        ".netrc",
        ".bash_history",
        ".node_repl_history",
        ".config/git/credentials",
        ".config/gh/hosts.yml",
        ".docker/config.json",
    ] {
        session.says(&format!("test ! -e ~/{file}")).await;
    }
    session.says("! grep -Ei '_authToken|_password|_auth *=' ~/.npmrc 2>/dev/null").await;
    session.says("test -z \"$(ls -A ~/.npm/_logs 2>/dev/null)\" && test ! -e /tmp/harvest-run").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_keeps_its_secret_is_never_published() {
    let planted = Planted::new();
    let mut scene =
        Scene::with(|plan| plan.secrets.push(("NPM_PRIVATE_TOKEN", planted.0["NPM_PRIVATE_TOKEN"].clone())))
            .await;
    let secrets = planted.searched_for(&scene);
    repository(&scene, "acme/hoarding", HOARDING).await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let target = "acme/hoarding@main".parse().unwrap();
    let job = with_secret(scene.job(&target), "NPM_PRIVATE_TOKEN");
    scene.publish(&job).await;
    let end = scene.last_end(&job).await;
    assert_eq!(
        (end.outcome, end.number, end.decision.as_str()),
        (OutcomeWord::Failed, 1, "dead_letter"),
        "{end:?}"
    );
    let failure = end.failure.unwrap();
    assert_eq!((failure.id, failure.stage), (FailureKind::ScrubSecretFound, Stage::Scrub), "{failure:?}");
    for file in ["/workspace/hoarding/dist/plain.txt", "/home/harvest/hoarded-base64"] {
        assert!(failure.message.contains(file), "{failure:?}");
    }
    nothing_in(&secrets, "the failure", &format!("{failure:?}"));
    assert_eq!(scene.prebuilds().await, [""; 0], "nothing was captured");
    assert!(scene.state(&target).await.promoted.is_none());
    scene.nothing_leaks().await;

    let mut queue = scene.broker.dead_letters().await.unwrap();
    let letters = queue.list().await.unwrap();
    assert_eq!(letters.len(), 1);
    nothing_in(
        &secrets,
        "the dead letter",
        &format!("{:?} {}", letters[0], String::from_utf8_lossy(&letters[0].body)),
    );
    queue.close().await;
    assert!(worker.terminate(SOON).await.unwrap().success());
    nothing_in(&secrets, "the worker's log", &worker.stderr());
    let sandboxd = scene.fleet.sandboxd();
    nothing_in(&secrets, "sandboxd's log", &(sandboxd.stdout() + &sandboxd.stderr()));
    // The sandboxes are gone, and what was hoarded with them.
    assert_eq!(found_under(&patterns(&secrets), &scene.fleet.directory().join("sandboxd")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_refused_what_is_the_sessions_or_opens_the_fleet() {
    let planted = Planted::new();
    let scene = Scene::with(|plan| plan.secrets.extend(planted.variables())).await;
    repository(&scene, "acme/greedy", TALKATIVE).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let target = "acme/greedy@main".parse().unwrap();
    for name in ["CLAUDE_CODE_OAUTH_TOKEN", "DAYTONA_API_KEY", "AMQP_URL"] {
        let job = Job { forced: true, ..with_secret(scene.job(&target), name) };
        scene.publish(&job).await;
        let end = eventually(BUILD, "the attempt ends", async || {
            scene.ends_of(job.id).pop().ok_or_else(|| scene.ends_of(job.id).len().to_string())
        })
        .await;
        let failure = end.failure.clone().unwrap_or_else(|| panic!("{end:?}"));
        assert_eq!(
            (failure.id, end.decision.as_str()),
            (FailureKind::SecretUnavailable, "dead_letter"),
            "{failure:?}"
        );
        assert!(
            failure.message.contains(name) && failure.message.contains("never given to a build"),
            "{failure:?}"
        );
        nothing_in(&planted.searched_for(&scene), "the failure", &format!("{failure:?}"));
    }
    assert_eq!(scene.prebuilds().await, [""; 0]);
    // The producer refuses it where people can still correct it.
    scene.fleet.follow(&scene.git, &[("acme/greedy", r#"secrets = ["CLAUDE_CODE_OAUTH_TOKEN"]"#)]).unwrap();
    let mut producer = scene.fleet.producer(&["--once"]).unwrap();
    producer.ended(SOON).await.unwrap();
    let said = producer.stdout() + &producer.stderr();
    assert!(said.contains("CLAUDE_CODE_OAUTH_TOKEN") && !said.contains("1 jobs published"), "{said}");
}

fn with_secret(mut job: Job, name: &str) -> Job {
    job.settings.secrets = [name.to_owned()].into();
    job
}
