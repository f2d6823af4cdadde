//! `make bench`: how long a program takes to know 100,000 targets when it starts, from a checkpoint and from the oldest entry, in one
//! run on one machine, and how much memory they take. The first argument says another number.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerSettings, Register};
use chrono::Utc;
use fleet_tests::rabbit::RabbitNode;
use futures::StreamExt as _;
use job::{
    AttemptId, BuildMode, CapturedPrebuild, Commit, Completeness, Concern, Fingerprint, FleetName, JobId,
    LastAttempt, OutcomeWord, PrebuildName, PrebuildRecord, Promotion, SandboxName, Target,
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_mins(10);
/// Publishes under way at once.
const AT_ONCE: usize = 256;

/// Told to the program that is measured, with the broker's URL after it.
const BE_MEASURED: &str = "--be-measured";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let targets = match &arguments[..] {
        [word, url] if word == BE_MEASURED => return be_measured(url).await,
        [number] => number.parse()?,
        _ => 100_000,
    };
    let node = RabbitNode::start().await?;
    let url = node.amqp_url("/");
    let broker = connect(&url).await?;
    let register = fill(&broker, targets).await?;

    let oldest = measure(&url).await?;
    let began = Instant::now();
    let written = register.write_checkpoint(&broker.publisher(), PATIENCE).await?;
    let writing = began.elapsed();
    let checkpoint = measure(&url).await?;
    for measured in [&oldest, &checkpoint] {
        anyhow::ensure!(measured.targets == targets, "{} of {targets} targets are known", measured.targets);
    }

    println!("load {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    println!(
        "{targets} targets, each built once: {} entries; from a program's start until it knows them",
        targets * 3
    );
    println!("from the oldest entry  {:7.2} s, {:5.0} MB resident", oldest.seconds, oldest.megabytes);
    println!("from a checkpoint      {:7.2} s, {:5.0} MB resident", checkpoint.seconds, checkpoint.megabytes);
    println!("ratio                  {:7.2}", checkpoint.seconds / oldest.seconds);
    println!(
        "writing the checkpoint {:7.2} s, {} parts, {} bytes",
        writing.as_secs_f64(),
        written.parts,
        written.bytes
    );
    broker.close().await;
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<Broker> {
    let knobs = serde_json::json!({ "publish_timeout": "60s", "heartbeat": "30s", "connect_timeout": "30s" });
    let section = serde_json::from_value(knobs)?;
    Ok(Broker::connect(BrokerSettings::new(url.into(), fleet()?, Vec::new(), section)).await?)
}

fn fleet() -> anyhow::Result<FleetName> {
    Ok("bench".parse()?)
}

/// What a program tells that has just begun.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    targets: usize,
    seconds: f64,
    megabytes: f64,
}

/// Starts this program anew, which knows nothing yet.
async fn measure(url: &str) -> anyhow::Result<Measured> {
    let mut program = tokio::process::Command::new(std::env::current_exe()?);
    let ended = program.args([BE_MEASURED, url]).stderr(Stdio::inherit()).output().await?;
    Ok(serde_json::from_slice(&ended.stdout)?)
}

async fn be_measured(url: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let broker = connect(url).await?;
    let register = Register::follow(&broker);
    register.sync(PATIENCE).await?;
    let seconds = began.elapsed().as_secs_f64();
    let measured = Measured { targets: register.target_count(), seconds, megabytes: resident_megabytes()? };
    println!("{}", serde_json::to_string(&measured)?);
    broker.close().await;
    Ok(())
}

/// What each target's first good build leaves: a captured prebuild, a promotion, an attempt.
async fn fill(broker: &Broker, targets: usize) -> anyhow::Result<Register> {
    let fleet = fleet()?;
    let register = Register::follow(broker);
    let notes = (0..targets).map(|number| {
        let (register, fleet) = (register.clone(), &fleet);
        async move {
            let target: Target = format!("owner-{}/repository-{number}@main", number % 100).parse()?;
            for about in concerns(&target, fleet)? {
                register.note(&target, about).await?;
            }
            anyhow::Ok(())
        }
    });
    let mut noting = futures::stream::iter(notes).buffer_unordered(AT_ONCE);
    while let Some(noted) = noting.next().await {
        noted?;
    }
    drop(noting);
    register.sync(PATIENCE).await?;
    Ok(register)
}

fn concerns(target: &Target, fleet: &FleetName) -> anyhow::Result<[Concern; 3]> {
    let unlike = || uuid::Uuid::new_v4().simple().to_string();
    let attempt = AttemptId::new();
    let commit: Commit = format!("{}{}", unlike(), &unlike()[..8]).parse()?;
    let fingerprint = Fingerprint::from_hex(&format!("{}{}", unlike(), unlike()))
        .ok_or_else(|| anyhow::anyhow!("no fingerprint"))?;
    let name =
        PrebuildName::new(SandboxName::of(fleet, target), &commit, &fingerprint, BuildMode::Cold, attempt);
    let promoted = PrebuildRecord {
        name: name.clone(),
        snapshot_id: unlike(),
        commit: commit.clone(),
        fingerprint,
        mode: BuildMode::Cold,
        completeness: Completeness::Complete,
        flags: Vec::new(),
        secrets: Some(["NPM_TOKEN".to_owned()].into()),
        attempt,
        built_at: Utc::now(),
        size_gb: Some(1.5),
        added_bytes: None,
        cold_start_milliseconds: Some(400),
    };
    let captured = CapturedPrebuild {
        name,
        manifest: format!("{}{}", unlike(), unlike()),
        baseline: format!("{}{}", unlike(), unlike()),
        secrets: Some(["NPM_TOKEN".to_owned()].into()),
    };
    let last = LastAttempt {
        job: JobId::on_demand(),
        attempt,
        number: 1,
        outcome: OutcomeWord::Built,
        failure: None,
        commit: Some(commit),
        at: Utc::now(),
        milliseconds: 60_000,
        trace_id: Some(unlike()),
    };
    Ok([
        Concern::Captured(captured),
        Concern::Promotion(Box::new(Promotion {
            follows: None,
            promoted,
            kept: Vec::new(),
            newest: None,
            at: None,
        })),
        Concern::Attempt(Box::new(last)),
    ])
}

fn resident_megabytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or_else(|| anyhow::anyhow!("no VmRSS"))?.parse::<f64>()? / 1024.0)
}
