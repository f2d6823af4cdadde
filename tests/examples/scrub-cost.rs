//! `make bench`: what it costs to clean up, search and verify a prebuild of 60,000 files, beside what the search of version 0.1 and
//! its look at a new prebuild cost, in one run on one machine. Prints a table; the ratios are worth more than the seconds.
//!
//! Before: `grep` for the secrets themselves over four folders, and five facts. Now: a restart, the baseline put back and
//! compared, the scan, and manifest and baseline compared before the same facts.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::time::{Duration, Instant};

use daytona::{Client, ClientSettings, CreateOutcome, DaytonaSection, NewSandbox, pace};
use fleet_tests::guard;
use job::{AttemptId, Stage};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::sandbox::{
    CommandSection, Environment, Exit, LongCommand, Redactor, Sandbox, SandboxWitness, Watching,
};
use worker::stages::baseline::{Baseline, find_difference};
use worker::stages::scrub::{self, Leave, LeftoverSection};

const KEY: &str = "a-key-for-one-run";
const PATH: &str = "/workspace/name";
/// The search costs the same whatever was removed.
const LEFTOVERS: LeftoverSection = LeftoverSection::all(Leave::Keep);
const SECRETS: [&str; 2] =
    ["ghp_0123456789abcdefghijklmnopqrstuvwxyz", "npm_n/p+m=0123456789abcdefghijklmnop"];

/// 60,000 files of about 4 KB in 1,200 packages, a repository of 2,000 files, and a toolchain of 3,000.
const FILES: &str = r"
set -e
mkdir -p /workspace/name && cd /workspace/name
git init --quiet --initial-branch=main
head -c 4000 /dev/urandom | base64 | head -c 4000 >/tmp/text
for folder in $(seq 40); do mkdir -p src/$folder; for file in $(seq 50); do { echo $folder $file; cat /tmp/text; } >src/$folder/$file.ts; done; done
git add -A && git -c user.name=t -c user.email=t@example.com commit --quiet -m m && git config remote.origin.url https://git.example/owner/name.git
mkdir -p ~/.harvest/bin ~/.harvest/toolchains/node
for file in $(seq 3000); do { echo $file; cat /tmp/text; } >~/.harvest/toolchains/node/$file; done
";
const PACKAGES: &str = r"
cd /workspace/name && mkdir -p node_modules/p0
for file in $(seq 50); do { echo $file; cat /tmp/text; } >node_modules/p0/$file.js; done
for package in $(seq 1 1199); do cp -r node_modules/p0 node_modules/p$package; done
find . -type f | wc -l
";

/// The search of version 0.1: exit 0 when no file holds any of the patterns.
const GREP: &str = r#"
patterns() { printenv HARVEST_PATTERNS; }
export LC_ALL=C
found=$(grep -rlaFs -f <(patterns) --exclude-dir=harvest-run -- /workspace "$HOME" /tmp /var/tmp 2>/dev/null | head -n 20)
names=$(find /workspace "$HOME" /tmp -xdev -not -path '/tmp/harvest-run/*' 2>/dev/null | grep -aF -f <(patterns) | head -n 20)
[ -z "$found$names" ]
"#;
/// The look of version 0.1 at a new prebuild, and a part of today's.
const FACTS: &str = r"
cd /workspace/name || exit 3
git rev-parse HEAD; git symbolic-ref --short HEAD; git config --get remote.origin.url
PATH=$HARVEST_IMAGE_PATH
node --version; bash -lc 'node --version' 2>/dev/null </dev/null; true
";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The worker's own line on each search: files, bytes, seconds, processor time.
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_target(false).init();
    let data = guard::temporary_directory("scrub-cost")?;
    let mut settings = sandboxd::Settings::new(data.path().join("data"));
    settings.api_keys = vec![sandboxd::ApiKey::full(KEY)];
    let base = settings.base_snapshot.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let section = DaytonaSection {
        api_url: format!("http://{}/api", listener.local_addr()?).parse()?,
        target: String::new(),
        request_timeout: Duration::from_mins(1),
        refused_key_pause: Duration::from_secs(30),
    };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(sandboxd::serve(settings, listener, shutdown.clone()));
    let client = Client::new(ClientSettings::new(section, SecretString::from(KEY)))?;
    let measured = measure(&client, &base).await;
    shutdown.cancel();
    serving.await??;
    for (what, took) in measured? {
        println!("{what:<60} {:>8.2} s", took.as_secs_f64());
    }
    Ok(())
}

async fn measure(client: &Client, base: &str) -> anyhow::Result<Vec<(&'static str, Duration)>> {
    let CreateOutcome::Created(made) = client.create_sandbox(&NewSandbox::new("cost", base)).await? else {
        anyhow::bail!("the sandbox's name is taken");
    };
    let soon = || tokio::time::Instant::now() + Duration::from_mins(2);
    let made = client.wait_until_started(&made.id, soon(), pace::STATE).await?;
    let secrets = SECRETS.map(SecretString::from);
    let watching = Watching {
        first: Duration::from_millis(50),
        ..Watching::new(&CommandSection { poll: Duration::from_millis(200) }, 0)
    };
    let witness = SandboxWitness::of(client, &made);
    let sandbox = Sandbox::new(
        client.toolbox(&made).await?,
        witness,
        Redactor::of(&secrets).into(),
        watching,
        AttemptId::new(),
    );
    let mut measured = Vec::new();

    long(&sandbox, "files", FILES, Environment::new()).await?;
    let began = Instant::now();
    let baseline = Baseline::take(&sandbox, PATH).await.map_err(anyhow::Error::msg)?;
    measured.push(("baseline taken, before install", began.elapsed()));
    long(&sandbox, "packages", PACKAGES, Environment::new()).await?;

    let patterns = SECRETS.map(str::to_owned).join("\n");
    let patterns = Environment::new().with_secret("HARVEST_PATTERNS", patterns.into());
    let (mut grep, mut now, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for round in ["1", "2", "3"] {
        let began = Instant::now();
        long(&sandbox, "grep", &format!("{GREP}# {round}"), patterns.clone()).await?;
        grep.push(began.elapsed());
        let began = Instant::now();
        scrub::run(&sandbox, PATH, &baseline, LEFTOVERS, &[]).await.map_err(anyhow::Error::msg)?;
        none.push(began.elapsed());
        let began = Instant::now();
        scrub::run(&sandbox, PATH, &baseline, LEFTOVERS, &secrets).await.map_err(anyhow::Error::msg)?;
        now.push(began.elapsed());
    }
    measured.push(("before: grep for 2 secrets in plain", middle(grep)));
    measured.push(("now: put back, compared, removed", middle(none)));
    measured.push(("now: the same and the scan, 2 secrets in every form", middle(now)));
    let began = Instant::now();
    client.restart_sandbox(&made.id, Duration::from_mins(30), soon()).await?;
    measured.push(("now: restart", began.elapsed()));

    let (mut facts, mut compared) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let began = Instant::now();
        sandbox
            .short(Stage::Verify, FACTS, &Environment::new(), Duration::from_secs(50))
            .await
            .map_err(anyhow::Error::msg)?;
        facts.push(began.elapsed());
        let began = Instant::now();
        let found = find_difference(&sandbox, PATH, &baseline.digests()).await.map_err(anyhow::Error::msg)?;
        anyhow::ensure!(found.is_none(), "{found:?}");
        compared.push(began.elapsed());
    }
    measured.push(("before: verify's facts", middle(facts)));
    measured.push(("now: verify's comparison, before the same facts", middle(compared)));
    Ok(measured)
}

async fn long(
    sandbox: &Sandbox,
    label: &'static str,
    script: &str,
    environment: Environment,
) -> anyhow::Result<()> {
    let command = LongCommand {
        stage: Stage::Build,
        label,
        script: script.to_owned(),
        cwd: "/".to_owned(),
        environment,
        deadline: Duration::from_mins(15),
    };
    let end = sandbox.run(&command).await.map_err(anyhow::Error::msg)?;
    anyhow::ensure!(end.exit == Exit::Code(0), "{label} ended with {:?}: {}", end.exit, end.tail.as_str());
    println!("{}", end.tail.as_str().trim());
    Ok(())
}

fn middle(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}
