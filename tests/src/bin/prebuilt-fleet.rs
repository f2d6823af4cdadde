//! A fleet with one promoted prebuild, for programs that start from one: `npm test` of the TypeScript example.
//!
//! Says where everything is in one line of JSON, and stays until its stdin closes. Whatever it keeps lies in temporary
//! directories, which go with it, however it ends.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use fleet_tests::fixtures::Sample;
use fleet_tests::fleet::{Fleet, FleetPlan};
use fleet_tests::git_server::{DEFAULT_BRANCH, GitServer};
use fleet_tests::npm_registry::NpmRegistry;
use fleet_tests::processes::FleetProcess;
use fleet_tests::rabbit::RabbitNode;
use fleet_tests::{guard, image_tools};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const REPOSITORY: &str = "acme/npm-service";
const BUILD: Duration = Duration::from_mins(5);
const LEAVE: Duration = Duration::from_secs(90);

/// Starts a private RabbitMQ, a git host with one repository, sandboxd and a worker; waits until the repository's
/// prebuild is promoted; says where everything is in one line of JSON on stdout; stays until stdin closes.
#[derive(Debug, Parser)]
struct Arguments {
    /// What every sandbox sees besides, read-only (see sandboxd). Repeatable.
    #[arg(long, value_name = "SRC[:DST]")]
    expose_read_only: Vec<String>,
}

/// What runs, in the order it is dropped in.
struct Running {
    worker: FleetProcess,
    fleet: Fleet,
    git: GitServer,
    node: RabbitNode,
    _registry: Option<NpmRegistry>,
    _directory: TempDir,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("prebuilt-fleet failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut closed = stdin_closed();
    let mut terminated = signal(SignalKind::terminate())?;
    let starting = async {
        let running = start(arguments).await?;
        let where_all_is = build(&running).await?;
        anyhow::Ok((running, where_all_is))
    };
    let (mut running, where_all_is) = tokio::select! {
        started = starting => started?,
        _ = &mut closed => bail!("stdin closed before the prebuild was there"),
        _ = terminated.recv() => bail!("terminated before the prebuild was there"),
    };
    writeln!(std::io::stdout(), "{where_all_is}")?;
    tokio::select! {
        _ = closed => {}
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    say("stopping");
    for process in [&mut running.worker, running.fleet.sandboxd()] {
        let status = process.terminate(LEAVE).await?;
        ensure!(status.success(), "a program left with {status}:\n{}", process.stderr());
    }
    running.node.stop().await
}

async fn start(arguments: &Arguments) -> anyhow::Result<Running> {
    let directory = guard::temporary_directory("prebuilt")?;
    say("starting a private RabbitMQ node");
    let node = RabbitNode::start().await?;
    say("starting a git host, sandboxd and a worker");
    let git = GitServer::start().await?;
    git.create_repo(REPOSITORY, Sample::NpmService).await?;
    let mut plan = FleetPlan::new("prebuilt", &node.amqp_url("/"), directory.path());
    plan.sandboxd_flags.extend(image_tools::flags()?);
    let registry = NpmRegistry::start().await?;
    plan.npm = registry.as_ref().map(NpmRegistry::settings).cloned();
    for shown in &arguments.expose_read_only {
        plan.sandboxd_flags.extend(["--expose-read-only".into(), absolute(shown)?.into()]);
    }
    let fleet = Fleet::start(plan).await?;
    fleet.follow(&git, &[(REPOSITORY, "")])?;
    let worker = fleet.worker().await?;
    Ok(Running { worker, fleet, git, node, _registry: registry, _directory: directory })
}

/// The same `SRC[:DST]` for a program that runs in another directory.
fn absolute(shown: &str) -> anyhow::Result<String> {
    let (source, destination) =
        shown.rsplit_once(':').map_or((shown, None), |(source, destination)| (source, Some(destination)));
    let source =
        PathBuf::from(source).canonicalize().with_context(|| format!("--expose-read-only {shown}"))?;
    let source = source.display();
    Ok(destination.map_or_else(|| source.to_string(), |destination| format!("{source}:{destination}")))
}

/// Has the repository built, and answers where everything is.
async fn build(running: &Running) -> anyhow::Result<Value> {
    say(&format!("building {REPOSITORY}"));
    let fleet = &running.fleet;
    let answer = fleet.ask(&["submit", REPOSITORY, "--wait"], BUILD).await?;
    ensure!(answer.code == Some(0), "harvestctl submit: {}{}", answer.stdout, answer.stderr);
    let prebuild = fleet.ask_json(&["resolve", REPOSITORY, "--json"]).await?;
    let field = |name: &str| {
        prebuild[name].as_str().with_context(|| format!("harvestctl resolve names no {name}: {prebuild}"))
    };
    let folder = REPOSITORY.rsplit('/').next().unwrap_or(REPOSITORY);
    let git_directory = running.git.file_url(REPOSITORY);
    Ok(json!({
        "apiUrl": fleet.api_url(),
        "apiKey": fleet.api_key(),
        "fleet": fleet.name(),
        "snapshot": field("name")?,
        "snapshotId": field("snapshot_id")?,
        "repository": REPOSITORY,
        "branch": DEFAULT_BRANCH,
        "path": format!("/workspace/{folder}"),
        "remote": running.git.url(REPOSITORY),
        "gitDirectory": git_directory.strip_prefix("file://").unwrap_or(&git_directory),
    }))
}

/// Tells when nobody holds the other end of stdin any more. A thread, since a blocked read would hold up the runtime's end.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (closed, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 1024];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        // Nobody waits for it any more when the program is leaving anyway.
        closed.send(()).ok();
    });
    told
}

fn say(line: &str) {
    // Somebody who closes the pipe has seen enough.
    drop(writeln!(std::io::stderr(), "{line}"));
}
