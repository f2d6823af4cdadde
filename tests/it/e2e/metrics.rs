//! What a worker and a producer count is what docs/metrics.md says that they count.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::Fault;
use job::OutcomeWord;
use tokio::net::TcpListener;

use super::scene::{BUILD, SOON, Scene};

/// The names of one section of docs/metrics.md.
fn documented(section: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let section = page.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    names.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("harvest_")).collect()
}

/// The names of a scrape, without the parts of a histogram.
fn exposed(scrape: &str) -> BTreeSet<String> {
    let names = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.filter(|name| name.starts_with("harvest_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_metrics_are_those_that_are_documented() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let scene = Scene::with(|plan| plan.variables.push(("HARVEST_HTTP_LISTEN", address.to_string()))).await;
    let (built, _) = scene.repository("acme/built", Sample::NpmService).await;
    scene.git.set_fault("acme/built", Fault::Unavailable { times: 1 }).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&built).await.outcome, OutcomeWord::Built);
    let lost = "acme/built@nowhere".parse().unwrap();
    assert_eq!(scene.bring_up_to_date(&lost).await.outcome, OutcomeWord::Failed);

    let scrape = eventually(SOON, "the failed job is counted", async || {
        let scrape =
            reqwest::get(format!("http://{address}/metrics")).await.map_err(|error| error.to_string())?;
        let scrape = scrape.text().await.map_err(|error| error.to_string())?;
        if scrape.contains(r#"harvest_dead_letters_total{failure="clone.branch_missing"} 1"#) {
            Ok(scrape)
        } else {
            Err(scrape)
        }
    })
    .await;
    assert_eq!(exposed(&scrape), documented("Worker"));
    for line in [
        r#"harvest_attempts_total{failure="",outcome="built"} 1"#,
        r#"harvest_attempts_total{failure="clone.host_unavailable",outcome="failed"} 1"#,
        r#"harvest_attempts_total{failure="clone.branch_missing",outcome="failed"} 1"#,
        r#"harvest_retries_total{failure="clone.host_unavailable"} 1"#,
        r#"harvest_dead_letters_total{failure="clone.branch_missing"} 1"#,
        // What alerts read is there before it happens, or Prometheus sees no increase.
        r#"harvest_dead_letters_total{failure="install.failed"} 0"#,
        r#"harvest_attempts_total{failure="worker.crashed",outcome="failed"} 0"#,
        r#"harvest_attempts_total{failure="",outcome="over_quota"} 0"#,
        r#"harvest_stage_duration_seconds_count{result="ok",stage="build"} 1"#,
        "harvest_queue_wait_seconds_count 3",
        "harvest_sandbox_cold_start_seconds_count 1",
        "harvest_worker_slots 1",
        "harvest_worker_slots_used 0",
    ] {
        assert!(scrape.lines().any(|said| said == line), "no {line} in\n{scrape}");
    }
    let starts = |bound: &str| {
        scrape.lines().any(|line| {
            line.starts_with(&format!(r#"harvest_sandbox_cold_start_seconds_bucket{{le="{bound}"}}"#))
        })
    };
    assert!(starts("0.3") && !starts("0.25"), "the cold start has bounds of its own:\n{scrape}");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let bounds = scrape
        .lines()
        .filter_map(|line| line.strip_prefix(r#"harvest_queue_wait_seconds_bucket{le=""#)?.split_once('"'));
    let bounds: Vec<&str> = bounds.map(|(bound, _)| bound).filter(|bound| *bound != "+Inf").collect();
    assert!(page.replace('\n', " ").contains(&bounds.join(", ")), "{bounds:?} are not in docs/metrics.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_metrics_are_those_that_are_documented() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let scene = Scene::with(|plan| plan.variables.push(("HARVEST_HTTP_LISTEN", address.to_string()))).await;
    let (built, _) = scene.repository("acme/built", Sample::NpmService).await;
    scene.repository("acme/waiting", Sample::NpmService).await;
    scene.fleet.follow(&scene.git, &[("acme/built", ""), ("acme/waiting", "")]).unwrap();
    let worker = scene.fleet.worker_with([("HARVEST_HTTP_LISTEN", "127.0.0.1:0")]).await.unwrap();
    assert_eq!(scene.bring_up_to_date(&built).await.outcome, OutcomeWord::Built);
    drop(worker);
    let promoted = scene.promoted(&built).await;
    let producer = scene.fleet.producer(&[]).unwrap();
    let scrape = eventually(BUILD, "a tick is fired, and targets are measured", async || {
        let scrape =
            reqwest::get(format!("http://{address}/metrics")).await.map_err(|error| error.to_string())?;
        let scrape = scrape.text().await.map_err(|error| error.to_string())?;
        let is_whole = scrape.contains("harvest_ticks_total{result=\"fired\"} 1")
            && scrape.contains("harvest_target_stale{");
        if is_whole { Ok(scrape) } else { Err(scrape) }
    })
    .await;
    assert_eq!(exposed(&scrape), documented("Producer"));
    let (at, waiting) = (promoted.built_at.timestamp(), built.to_string().replace("built", "waiting"));
    for line in [
        format!(r#"harvest_target_prebuild_timestamp_seconds{{target="{built}"}} {at}"#),
        format!(r#"harvest_target_stale{{reason="never_built",target="{waiting}"}} 1"#),
    ] {
        assert!(scrape.lines().any(|said| said == line), "no {line} in\n{scrape}");
    }
    let outcome =
        format!(r#"harvest_target_last_attempt_timestamp_seconds{{outcome="built",target="{built}"}} "#);
    assert!(scrape.lines().any(|line| line.starts_with(&outcome)), "{scrape}");
    // Whoever starts now begins at the checkpoint that it wrote.
    eventually(SOON, "a checkpoint is written", async || {
        let late = broker::Register::follow(&scene.broker);
        late.sync(SOON).await.map_err(|error| error.to_string())?;
        let status = late.checkpoint_status();
        if status.last.is_some() { Ok(()) } else { Err(producer.stderr()) }
    })
    .await;
}
