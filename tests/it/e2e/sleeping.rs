//! Prebuilds that Daytona has put to sleep: nobody wakes them, everybody says so, and their targets are built anew.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use daytona::SnapshotId;
use fleet_tests::eventually;
use job::{Folded, OutcomeWord};

use super::scene::{SOON, Scene};

fn id(snapshot: &str) -> SnapshotId {
    SnapshotId::new(snapshot)
}

/// An address that nobody listens at, for a producer whose metrics are read.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

async fn scrape(address: SocketAddr) -> Result<String, String> {
    let scrape =
        reqwest::get(format!("http://{address}/metrics")).await.map_err(|error| error.to_string())?;
    scrape.text().await.map_err(|error| error.to_string())
}

impl Scene {
    async fn activations(&self) -> Vec<String> {
        let requests = self.fleet.requests().await.unwrap();
        let calls = requests["requests"].as_object().unwrap().keys();
        calls.filter(|call| call.contains("/activate")).cloned().collect()
    }

    async fn looks(&self) -> u64 {
        self.fleet.requests().await.unwrap()["requests"]["GET /api/snapshots"].as_u64().unwrap_or(0)
    }

    /// Waits until the snapshots were listed twice more, so that what the first of these looks led to is done.
    async fn two_more_looks(&self) {
        let before = self.looks().await;
        eventually(SOON, "the keeper looks twice more", async || {
            let more = self.looks().await - before;
            if more >= 2 { Ok(()) } else { Err(more) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_sleeps_is_built_anew_and_never_woken() {
    let scene = Scene::start().await;
    let target = scene.small("acme/one").await.0;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let asleep = scene.promoted(&target).await;
    scene.put_to_sleep(&id(&asleep.snapshot_id)).await;

    let resolved = scene.fleet.ask(&["resolve", "acme/one"], SOON).await.unwrap();
    assert_eq!(resolved.code, Some(3), "{}", resolved.stdout);
    assert!(resolved.stderr.contains("sleeps in Daytona"), "{}", resolved.stderr);
    let explained = scene.fleet.ask_json(&["explain", "acme/one", "--json"]).await.unwrap();
    assert_eq!(explained["next_tick"]["verdict"], "builds", "{explained}");
    assert!(explained["notes"].to_string().contains("sleeps in Daytona"), "{explained}");
    let doctor = scene.fleet.ask(&["doctor"], SOON).await.unwrap();
    assert!(doctor.stdout.contains("asleep"), "{}", doctor.stdout);

    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let anew = scene.promoted(&target).await;
    assert_ne!(anew.name, asleep.name);
    let resolved = scene.fleet.ask_json(&["resolve", "acme/one", "--json"]).await.unwrap();
    assert_eq!(resolved["snapshot_id"], anew.snapshot_id.as_str(), "{resolved}");
    assert_eq!(resolved["confirmed"], true, "{resolved}");

    // Replaced, it is collected, though it is kept and was used a moment ago.
    let _keeper = scene.keeper().await;
    scene.only_prebuild_is(&anew.name.to_string()).await;
    assert_eq!(scene.activations().await, Vec::<String>::new());
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_is_built_ahead_of_the_queue() {
    let address = free_address();
    let scene = Scene::with(|plan| plan.variables.push(("HARVEST_HTTP_LISTEN", address.to_string()))).await;
    let (target, other) = (scene.small("acme/one").await.0, scene.small("acme/two").await.0);
    scene.fleet.follow(&scene.git, &[("acme/one", ""), ("acme/two", "")]).unwrap();
    let [kept, promoted] = scene.built(&target).await;
    let [awake] = scene.built(&other).await;
    assert_eq!(scene.promote(&target, &promoted, &[&kept]).await, Folded::Taken);
    assert_eq!(scene.promote(&other, &awake, &[]).await, Folded::Taken);
    let _producer = scene.keeper().await;
    scene.put_to_sleep(&id(&promoted.snapshot_id)).await;
    eventually(SOON, "a job goes ahead", async || {
        let depths = scene.broker.queue_depths().await.unwrap();
        if depths.on_demand == 1 { Ok(()) } else { Err(format!("{depths:?}")) }
    })
    .await;
    eventually(SOON, "the target is said to be stale", async || {
        let text = scrape(address).await?;
        let is_stale = |line: &&str| line.starts_with("harvest_target_stale{") && line.contains("asleep");
        let stale: Vec<&str> = text.lines().filter(is_stale).collect();
        if stale.len() == 1 && stale[0].contains("acme/one") { Ok(()) } else { Err(text) }
    })
    .await;
    let resolved = scene.fleet.ask_json(&["resolve", "acme/one", "--json"]).await.unwrap();
    assert_eq!(resolved["snapshot_id"], kept.snapshot_id.as_str(), "the next best: {resolved}");
    assert_eq!(resolved["confirmed"], false, "{resolved}");
    assert!(resolved["notes"].to_string().contains("sleeps in Daytona"), "{resolved}");
    scene.two_more_looks().await;
    assert_eq!(scene.broker.queue_depths().await.unwrap().on_demand, 1, "once, at however many looks");
    assert_eq!(scene.published("ondemand").await.target, target);
    // What sessions were given stays until it is replaced.
    assert!(scene.daytona.get_snapshot(&promoted.snapshot_id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_one_is_kept_awake_where_that_is_wanted() {
    let address = free_address();
    let scene = Scene::with(|plan| {
        plan.variables.push(("HARVEST_HTTP_LISTEN", address.to_string()));
        plan.in_use = "0s";
        plan.keeper_lines = "idle = \"awake\"\nsleeps_after = \"3s\"\n".into();
    })
    .await;
    let target = scene.small("acme/one").await.0;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let [promoted] = scene.built(&target).await;
    assert_eq!(scene.promote(&target, &promoted, &[]).await, Folded::Taken);
    let last_used = async || {
        scene.daytona.get_snapshot(&promoted.snapshot_id).await.unwrap().expect("it stays").last_used_at
    };
    let before = last_used().await;
    let producer = scene.keeper().await;
    eventually(SOON, "a sandbox was started from it, twice", async || {
        let text = scrape(address).await?;
        let started = "harvest_prebuilds_kept_awake_total{result=\"started\"} ";
        let count = text.lines().find_map(|line| line.strip_prefix(started)?.parse::<u64>().ok());
        if count >= Some(2) { Ok(()) } else { Err(text) }
    })
    .await;
    eventually(SOON, "one of them from the prebuild", async || {
        let used = last_used().await;
        if used > before { Ok(()) } else { Err(format!("{used:?}")) }
    })
    .await;
    drop(producer);
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_kept_awake_where_prebuilds_may_sleep() {
    let scene = Scene::with(|plan| plan.keeper_lines = "sleeps_after = \"3s\"\n".into()).await;
    let target = scene.small("acme/one").await.0;
    scene.fleet.follow(&scene.git, &[("acme/one", "")]).unwrap();
    let [promoted] = scene.built(&target).await;
    assert_eq!(scene.promote(&target, &promoted, &[]).await, Folded::Taken);
    let last_used = async |snapshot: &str| {
        scene.daytona.get_snapshot(snapshot).await.unwrap().expect("it stays").last_used_at
    };
    let base = scene.settings(&target).base_snapshot;
    let base = scene.daytona.base_snapshot(&base).await.unwrap().id.to_string();
    let (base_before, prebuild_before) = (last_used(&base).await, last_used(&promoted.snapshot_id).await);
    let producer = scene.keeper().await;
    eventually(SOON, "a sandbox was started from the base", async || {
        let used = last_used(&base).await;
        if used > base_before { Ok(()) } else { Err(format!("{used:?}")) }
    })
    .await;
    assert_eq!(last_used(&promoted.snapshot_id).await, prebuild_before, "it may sleep");
    // Killed between a start and its deletion it would leave the sandbox to its own end, in twenty minutes.
    scene.nothing_leaks().await;
    drop(producer);

    // So does a producer that fires one tick, or skips it, and leaves.
    let before = last_used(&base).await;
    eventually(SOON, "one that leaves has started from the base", async || {
        let mut once = scene.fleet.producer(&["--once"]).unwrap();
        let ended = once.ended(SOON).await.map_err(|error| error.to_string())?;
        if last_used(&base).await > before { Ok(()) } else { Err(format!("{ended}: not due yet")) }
    })
    .await;
    scene.nothing_leaks().await;
}
