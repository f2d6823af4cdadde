//! `make demo` and `make up`: a whole fleet on this machine, from five sample repositories to prebuilds and a dead letter.
//!
//! Everything is real but Daytona, which is sandboxd. State is kept in `.demo`, so that a second run finds nothing to do.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use comfy_table::{Table, presets};
use fleet_tests::fixtures::Sample;
use fleet_tests::fleet::{Fleet, FleetPlan};
use fleet_tests::git_server::GitServer;
use fleet_tests::npm_registry::NpmRegistry;
use fleet_tests::processes::FleetProcess;
use fleet_tests::rabbit::RabbitNode;
use serde_json::Value;

const BUILDS: Duration = Duration::from_mins(15);
const LEAVE: Duration = Duration::from_secs(90);

/// What the demo builds: repository, sample, and what it shows.
const SAMPLES: [(&str, Sample, &str); 5] = [
    ("acme/npm-service", Sample::NpmService, "npm, a build script"),
    ("acme/pnpm-workspace", Sample::PnpmWorkspace, "a pnpm workspace, pinned pnpm"),
    ("acme/pinned-node", Sample::PinnedNode, "another Node than the host's"),
    (
        "acme/broken-build",
        Sample::BrokenBuild,
        "the build script fails: promoted all the same, flagged partial",
    ),
    (
        "acme/broken-lockfile",
        Sample::BrokenLockfile,
        "cannot be installed: dead-lettered at its first attempt",
    ),
];

/// Starts a private RabbitMQ, sandboxd, a git host, a producer and two workers, and prebuilds sample repositories.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keep the fleet running until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where state is kept between runs.
    #[arg(long, default_value = ".demo")]
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match demo(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nThe demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    let began = Instant::now();
    std::fs::create_dir_all(&arguments.directory)?;
    let directory = arguments.directory.canonicalize()?;
    say("Harvest Fleet demo: everything runs on this machine; nothing leaves it but package downloads.\n");
    step("a private RabbitMQ node");
    let mut node = RabbitNode::start_in(&directory.join("rabbitmq")).await?;
    step("a git host with sample repositories");
    let git = GitServer::start_in(&directory.join("git")).await?;
    for (name, sample, _) in SAMPLES {
        git.create_repo(name, sample).await?;
    }
    step("sandboxd, which speaks Daytona's API");
    let registry = NpmRegistry::start().await?;
    let plan = FleetPlan {
        retry_delays: vec!["2s", "10s", "30s"],
        lease: ("5s", "20s"),
        slots: 2,
        sandboxd_flags: vec!["--faults".into()],
        npm: registry.as_ref().map(NpmRegistry::settings).cloned(),
        ..FleetPlan::new("demo", &node.amqp_url("/"), &directory)
    };
    let mut fleet = Fleet::start(plan).await?;
    fleet.follow(&git, &SAMPLES.map(|(name, ..)| (name, "")))?;
    step("two workers, two slots each");
    let mut workers = [fleet.worker().await?, fleet.worker().await?];
    say("\nThe targets:");
    for (name, _, shows) in SAMPLES {
        say(&format!("  {name:<22} {shows}"));
    }

    say("\n$ harvestctl submit --all --wait");
    let started_before = sandboxes_started(&fleet).await?;
    let told = submit(&fleet).await?;
    let started = sandboxes_started(&fleet).await? - started_before;

    step("\na producer: from now on every half hour, by itself");
    let mut producer = fleet.producer(&[])?;

    summary(&fleet, &told).await?;
    say(&format!(
        "\nSandboxes started: {started}{}.",
        if started == 0 { " (nothing had changed)" } else { "" }
    ));
    dead_letters(&fleet).await?;
    say(&format!(
        "\nDone in {} s. Run it again: nothing has changed, so no sandbox is started.",
        began.elapsed().as_secs()
    ));
    if arguments.keep {
        keep(&fleet, &node).await?;
    }
    for process in workers.iter_mut().chain([&mut producer, fleet.sandboxd()]) {
        leave(process).await?;
    }
    node.stop().await
}

/// Submits every target and shows what harvestctl says while it says it. Its exit code is 1: one target is broken.
async fn submit(fleet: &Fleet) -> anyhow::Result<String> {
    let mut process = fleet.operator(&["submit", "--all", "--wait"])?;
    let began = Instant::now();
    let mut shown = 0;
    loop {
        let ended = process.ended(Duration::from_millis(300)).await.is_ok();
        let output = process.stdout();
        let fresh = &output[shown..output.rfind('\n').map_or(shown, |end| end + 1).max(shown)];
        for line in fresh.lines() {
            say(&format!("  {line}"));
        }
        shown += fresh.len();
        if ended {
            break;
        }
        ensure!(began.elapsed() < BUILDS, "the builds took longer than {BUILDS:?}\n{}", process.stderr());
    }
    let status = process.ended(LEAVE).await?;
    ensure!(status.code() == Some(1), "harvestctl submit exited with {status}: {}", process.stderr());
    Ok(process.stdout())
}

/// What harvestctl knows of each target now, beside how its job has just ended (its last line in `told`).
async fn summary(fleet: &Fleet, told: &str) -> anyhow::Result<()> {
    let status = fleet.ask_json(&["status", "--json"]).await?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["target", "outcome", "commit", "last build took", "snapshot"]);
    let targets = status["targets"].as_array().context("harvestctl status lists targets")?;
    for target in targets {
        let text = |pointer: &str| target.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        let name = text("/target");
        let ended = told.lines().rev().find_map(|line| line.strip_prefix(&name)?.strip_prefix("  "));
        let ended = ended.with_context(|| format!("harvestctl submit did not say how {name} ended"))?;
        let outcome = match target.pointer("/last/failure/id").and_then(Value::as_str) {
            Some(failure) => format!("{ended}: {failure}"),
            None => ended.to_owned(),
        };
        let took = target.pointer("/last/milliseconds").and_then(Value::as_f64);
        table.add_row([
            name,
            outcome,
            text("/last/commit").chars().take(12).collect(),
            took.map_or_else(|| "-".to_owned(), |milliseconds| format!("{:.1} s", milliseconds / 1000.0)),
            text("/prebuild/name"),
        ]);
    }
    ensure!(targets.len() == SAMPLES.len(), "{} of {} targets are known", targets.len(), SAMPLES.len());
    say(&format!("\n{table}"));
    Ok(())
}

async fn dead_letters(fleet: &Fleet) -> anyhow::Result<()> {
    let list = fleet.ask(&["dead-letters", "list"], LEAVE).await?;
    ensure!(list.code == Some(0), "harvestctl dead-letters list: {}", list.stderr);
    say("\n$ harvestctl dead-letters list");
    for line in list.stdout.lines() {
        say(&format!("  {line}"));
    }
    let json = fleet.ask_json(&["dead-letters", "list", "--json"]).await?;
    let letters = json["dead_letters"].as_array().context("harvestctl lists dead letters")?;
    let [letter] = letters.as_slice() else {
        bail!("one dead letter was to be expected, {} are there", letters.len())
    };
    let id = letter["id"].as_str().context("a dead letter has an id")?;
    say(&format!("Look at it while the fleet runs (make up): harvestctl dead-letters show {id}"));
    Ok(())
}

async fn sandboxes_started(fleet: &Fleet) -> anyhow::Result<u64> {
    let counted = fleet.requests().await?;
    Ok(counted["events"]["sandbox created"].as_u64().unwrap_or(0))
}

/// Shows how to reach the fleet, and waits for Ctrl-C.
async fn keep(fleet: &Fleet, node: &RabbitNode) -> anyhow::Result<()> {
    let file = fleet.directory().join("environment");
    let text = format!(
        "export HARVEST_FLEET={} HARVEST_FLEET_FILE={} AMQP_URL={} DAYTONA_API_URL={} DAYTONA_API_KEY={}\n\
         export HARVEST_RETRY_DELAYS=2s,10s,30s\n",
        fleet.name(),
        fleet.fleet_file().display(),
        node.amqp_url("/"),
        fleet.api_url(),
        fleet.api_key()
    );
    std::fs::write(&file, text)?;
    say("\nThe fleet keeps running. In another terminal:");
    say(&format!("  . {} && target/debug/harvestctl status", file.display()));
    say("Ctrl-C ends it.");
    tokio::signal::ctrl_c().await?;
    std::fs::remove_file(file)?;
    Ok(())
}

async fn leave(process: &mut FleetProcess) -> anyhow::Result<()> {
    let status = process.terminate(LEAVE).await?;
    ensure!(status.success(), "a program left with {status}:\n{}", process.stderr());
    Ok(())
}

fn step(what: &str) {
    let fresh = what.strip_prefix('\n');
    say(&format!("{}starting {}", if fresh.is_some() { "\n" } else { "" }, fresh.unwrap_or(what)));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Somebody who closes the pipe has seen enough.
    drop(writeln!(out, "{line}"));
}
