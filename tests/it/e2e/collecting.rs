//! What the keeper collects, and what it never does: real producers beside sandboxd, and a register that the test writes.

use std::collections::BTreeSet;

use daytona::{CreateOutcome, NewSandbox, pace};
use fleet_tests::eventually;
use fleet_tests::processes::FleetProcess;
use job::{CapturedPrebuild, Concern, FleetName, Folded, OutcomeWord, PrebuildRecord, Promotion, Target};
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::scene::{SOON, Scene};
use super::steps::HELD;

const DELETE: &str = "/api/snapshots/*";

fn target(name: &str) -> Target {
    format!("acme/{name}@main").parse().unwrap()
}

/// A prebuild's record, of an attempt that begins now.
pub(super) fn record_in(fleet: &FleetName, target: &Target) -> PrebuildRecord {
    PrebuildRecord { snapshot_id: String::new(), ..PrebuildRecord::example_of(fleet, target) }
}

pub(super) fn names<'a>(prebuilds: impl IntoIterator<Item = &'a PrebuildRecord>) -> BTreeSet<String> {
    prebuilds.into_iter().map(|prebuild| prebuild.name.to_string()).collect()
}

impl Scene {
    async fn collecting() -> Self {
        Self::with(|plan| plan.in_use = "0s").await
    }

    /// The producer that is active, or becomes it.
    pub(super) async fn keeper(&self) -> FleetProcess {
        let mut producer = self.fleet.producer(&[]).unwrap();
        producer.says("this producer is the active one", SOON).await.unwrap();
        producer
    }

    /// So many prebuilds, one after the other, with a snapshot each.
    pub(super) async fn built<const N: usize>(&self, target: &Target) -> [PrebuildRecord; N] {
        let mut prebuilds = Vec::new();
        for _ in 0..N {
            let mut prebuild = record_in(&self.fleet_name(), target);
            prebuild.snapshot_id = self.snapshot(&prebuild.name.to_string()).await;
            prebuilds.push(prebuild);
        }
        prebuilds.try_into().unwrap()
    }

    pub(super) async fn snapshot(&self, name: &str) -> String {
        let seed = NewSandbox::new(format!("seed-{}", uuid::Uuid::new_v4().simple()), "harvest-snapshot");
        let CreateOutcome::Created(sandbox) = self.daytona.create_sandbox(&seed).await.unwrap() else {
            panic!("no sandbox to capture {name} from");
        };
        let deadline = tokio::time::Instant::now() + SOON;
        self.daytona.wait_until_started(&sandbox.id, deadline, pace::STATE).await.unwrap();
        self.daytona.create_snapshot_from_sandbox(&sandbox.id, name).await.unwrap();
        let id = eventually(SOON, "the snapshot is active", async || {
            match self.daytona.get_snapshot(name).await {
                Ok(Some(snapshot)) if snapshot.state == daytona::SnapshotState::Active => {
                    Ok(snapshot.id.to_string())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        self.daytona.delete_and_confirm(&sandbox.id, deadline).await.unwrap();
        id
    }

    pub(super) async fn promote(
        &self,
        target: &Target,
        promoted: &PrebuildRecord,
        kept: &[&PrebuildRecord],
    ) -> Folded {
        self.register.sync(SOON).await.unwrap();
        let follows = self.register.get(target).and_then(|state| state.promotion);
        let kept = kept.iter().map(|&kept| kept.clone()).collect();
        let promotion = Promotion { follows, promoted: promoted.clone(), kept, newest: None, at: None };
        self.register.append(target, Concern::Promotion(Box::new(promotion)), SOON).await.unwrap()
    }

    async fn deletions(&self) -> u64 {
        let requests = self.fleet.requests().await.unwrap();
        let counts = requests["requests"].as_object().unwrap();
        let deletions = counts.iter().filter(|(call, _)| call.starts_with("DELETE /api/snapshots/"));
        deletions.filter_map(|(_, count)| count.as_u64()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_or_in_the_making_stays_and_old_ones_go() {
    let scene = Scene::collecting().await;
    let (busy, unknown) = (target("busy"), target("unknown"));
    let [old, kept, promoted, in_the_making] = scene.built(&busy).await;
    let [of_nobody] = scene.built(&unknown).await;
    let foreign = record_in(&"other".parse().unwrap(), &busy);
    let longer = format!("{}.copy", old.name);
    scene.snapshot(&foreign.name.to_string()).await;
    scene.snapshot(&longer).await;
    assert_eq!(scene.promote(&busy, &promoted, &[&kept]).await, Folded::Taken);
    let captured = CapturedPrebuild {
        name: in_the_making.name.clone(),
        manifest: "5".repeat(64),
        baseline: String::new(),
        secrets: None,
    };
    scene.register.append(&busy, Concern::Captured(captured), SOON).await.unwrap();
    let _keeper = scene.keeper().await;
    let mut stay = names([&kept, &promoted, &in_the_making, &of_nobody]);
    stay.insert(longer.clone());
    scene.only_prebuilds_are(&stay).await;

    // Soon after a promotion it looks again.
    assert_eq!(scene.promote(&busy, &in_the_making, &[&promoted]).await, Folded::Taken);
    stay.remove(&kept.name.to_string());
    scene.only_prebuilds_are(&stay).await;
    assert!(scene.daytona.get_snapshot(foreign.name.to_string()).await.unwrap().is_some());
    assert_eq!(
        scene.promote(&busy, &old, &[&promoted]).await,
        Folded::Overtaken,
        "it may have been collected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_stops_no_other_and_is_tried_again() {
    let scene = Scene::collecting().await;
    let target = target("stubborn");
    let [first, second, promoted] = scene.built(&target).await;
    let refusal = json!({ "kind": "answer", "status": 400, "body": { "message": "Snapshot is in use" } });
    let of_first = format!("/api/snapshots/{}", first.snapshot_id);
    let fault = json!({ "match": { "method": "DELETE", "path_pattern": of_first }, "times": 100_000, "action": refusal });
    scene.fleet.plant_fault(&fault).await.unwrap();
    assert_eq!(scene.promote(&target, &promoted, &[]).await, Folded::Taken);
    let mut keeper = scene.keeper().await;
    keeper.says("prebuild not collected", SOON).await.unwrap();
    scene.only_prebuilds_are(&names([&first, &promoted])).await;
    assert!(!names([&first, &promoted]).contains(&second.name.to_string()));
    scene.fleet.heal().await.unwrap();
    scene.only_prebuilds_are(&names([&promoted])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_killed_in_mid_collection_is_followed_by_the_next() {
    let scene = Scene::collecting().await;
    let target = target("many");
    let old: [PrebuildRecord; 4] = scene.built(&target).await;
    let [kept, promoted] = scene.built(&target).await;
    let slow = json!({ "kind": "delay", "milliseconds": 20_000 });
    let fault = json!({ "match": { "method": "DELETE", "path_pattern": DELETE }, "skip": 1, "times": 1, "action": slow });
    scene.fleet.plant_fault(&fault).await.unwrap();
    let mut first = scene.keeper().await;
    let mut second = scene.fleet.producer(&[]).unwrap();
    second.says("another producer is active", SOON).await.unwrap();
    assert_eq!(scene.promote(&target, &promoted, &[&kept]).await, Folded::Taken);
    eventually(SOON, "the second deletion is under way", async || {
        let deletions = scene.deletions().await;
        if deletions == 2 { Ok(()) } else { Err(format!("{deletions} deletions")) }
    })
    .await;
    assert!(!second.stderr().contains("collected"), "one collects at a time: {}", second.stderr());
    first.kill9().unwrap();
    second.says("prebuild collected", SOON).await.unwrap();
    scene.only_prebuilds_are(&names([&kept, &promoted])).await;
    let deletions = scene.deletions().await;
    assert!(deletions <= 1 + u64::try_from(old.len()).unwrap(), "{deletions}: one was asked for twice");
    assert!(second.terminate(SOON).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_register_deletes_nothing() {
    let scene = Scene::collecting().await;
    let (lost, known) = (target("lost"), target("known"));
    let of_lost: [PrebuildRecord; 2] = scene.built(&lost).await;
    let [old, promoted] = scene.built(&known).await;
    assert_eq!(scene.promote(&lost, &of_lost[1], &[&of_lost[0]]).await, Folded::Taken);
    let _keeper = scene.keeper().await;
    let connection =
        Connection::connect(scene.fleet.amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for stream in ["register", "register.checkpoints"] {
        let stream = format!("harvest.{}.{stream}", scene.fleet.name());
        channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    scene.close_connections().await;
    eventually(SOON, "the register is another one", async || {
        scene.register.sync(std::time::Duration::from_secs(15)).await.map_err(|error| error.to_string())?;
        match scene.register.get(&lost) {
            None => Ok(()),
            Some(state) => Err(format!("{state:?}")),
        }
    })
    .await;
    // What it deletes shows that it has looked.
    assert_eq!(scene.promote(&known, &promoted, &[]).await, Folded::Taken);
    let stay = names(of_lost.iter().chain([&promoted]));
    scene.only_prebuilds_are(&stay).await;
    assert!(!stay.contains(&old.name.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_promote_while_the_keeper_collects() {
    let scene = Scene::collecting().await;
    let (target, _) = scene.small("acme/rounds").await;
    let _keeper = scene.keeper().await;
    let _workers = [scene.fleet.worker().await.unwrap(), scene.fleet.worker().await.unwrap()];
    for round in 0..4 {
        let text = format!("round {round}\n");
        scene.git.commit("acme/rounds", "main", &[("NOTES.md", &text)]).await.unwrap();
        assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    }
    // One is being built all the while.
    scene.git.commit("acme/rounds", "main", &[("NOTES.md", "the last\n")]).await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    let state = scene.state(&target).await;
    scene.only_prebuilds_are(&names(state.prebuilds())).await;
    scene.let_go(&sandbox).await;
    assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Built);
    let state = scene.state(&target).await;
    scene.only_prebuilds_are(&names(state.prebuilds())).await;
    scene.nothing_leaks().await;
}
