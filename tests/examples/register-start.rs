//! `make bench`: how long a program takes to know 100,000 targets when it starts, from a checkpoint and from the oldest entry, in one
//! run on one machine, and how much memory they take. `HARVEST_BENCH_TARGETS` says another number.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::time::{Duration, Instant};

use broker::{Broker, BrokerSettings, Register};
use chrono::Utc;
use fleet_tests::rabbit::RabbitNode;
use futures::StreamExt as _;
use job::{
    AttemptId, BuildMode, CapturedPrebuild, Commit, Completeness, Concern, Fingerprint, FleetName, JobId,
    LastAttempt, OutcomeWord, PrebuildName, PrebuildRecord, Promotion, SandboxName, Target,
};

const PATIENCE: Duration = Duration::from_mins(10);
/// Publishes under way at once.
const AT_ONCE: usize = 256;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let targets = std::env::var("HARVEST_BENCH_TARGETS").map_or(Ok(100_000), |number| number.parse())?;
    let node = RabbitNode::start().await?;
    let fleet: FleetName = "bench".parse()?;
    let knobs = serde_json::json!({ "publish_timeout": "60s", "heartbeat": "30s", "connect_timeout": "30s" });
    let section = serde_json::from_value(knobs)?;
    let settings =
        BrokerSettings::new(node.amqp_url("/").as_str().into(), fleet.clone(), Vec::new(), section);
    let broker = Broker::connect(settings).await?;
    fill(&broker, &fleet, targets).await?;

    let (oldest, all) = start(&broker).await?;
    let began = Instant::now();
    let written = all.write_checkpoint(&broker.publisher(), PATIENCE).await?;
    let writing = began.elapsed();
    drop(all);
    let before = resident_megabytes()?;
    let (checkpoint, known) = start(&broker).await?;
    let memory = resident_megabytes()?.saturating_sub(before);
    anyhow::ensure!(known.target_count() == targets, "{} targets are known", known.target_count());

    println!("load {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    println!("{targets} targets, each promoted once: {} entries", targets * 3);
    println!("from the oldest entry    {:8.2} s", oldest.as_secs_f64());
    println!("from a checkpoint        {:8.2} s", checkpoint.as_secs_f64());
    println!("ratio                    {:8.2}", checkpoint.as_secs_f64() / oldest.as_secs_f64());
    println!(
        "writing the checkpoint   {:8.2} s, {} parts, {:.1} MB",
        writing.as_secs_f64(),
        written.parts,
        megabytes(written.bytes)
    );
    println!("memory of what is known  {memory:8} MB, {:.1} KB a target", kilobytes_each(memory, targets));
    broker.close().await;
    Ok(())
}

/// Begins to read, and waits until everything is known.
async fn start(broker: &Broker) -> anyhow::Result<(Duration, Register)> {
    let began = Instant::now();
    let register = Register::follow(broker);
    register.sync(PATIENCE).await?;
    Ok((began.elapsed(), register))
}

/// What each target's first good build leaves: a captured prebuild, a promotion, an attempt.
async fn fill(broker: &Broker, fleet: &FleetName, targets: usize) -> anyhow::Result<()> {
    let register = Register::follow(broker);
    let notes = (0..targets).map(|number| {
        let register = register.clone();
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
    Ok(())
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
        Concern::Promotion(Box::new(Promotion { follows: None, promoted, kept: Vec::new() })),
        Concern::Attempt(Box::new(last)),
    ])
}

fn resident_megabytes() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or_else(|| anyhow::anyhow!("no VmRSS"))?.parse::<usize>()? / 1024)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn kilobytes_each(megabytes: usize, targets: usize) -> f64 {
    megabytes as f64 * 1024.0 / targets as f64
}
