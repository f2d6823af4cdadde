//! `harvestctl prebuilds`: what is listed, and what is withdrawn, deleted and built anew.

use std::collections::BTreeMap;

use ::operator::Exit;
use broker::{Register, Settled};
use chrono::Utc;
use fleet_tests::eventually;
use job::{
    AttemptId, CapturedPrebuild, Concern, Folded, PrebuildRecord, Promotion, SandboxName, TargetState,
};
use serde_json::Value;

use super::daytona::Daytona;
use super::record;
use super::scene::{SOON, Scene, target};
use super::worker::Worker;

const GOOD: &str = "acme/good@main";
const BAD: &str = "acme/bad@main";

/// A prebuild that was built with these secrets, and a snapshot of it in Daytona.
async fn built(scene: &Scene, daytona: &Daytona, of: &str, secrets: &[&str]) -> PrebuildRecord {
    let prebuild = record(scene, of, "");
    let snapshot_id = daytona.snapshot(&prebuild.name.to_string()).await;
    let secrets = Some(secrets.iter().map(|&name| name.to_owned()).collect());
    PrebuildRecord { snapshot_id, secrets, ..prebuild }
}

fn captured(prebuild: &PrebuildRecord) -> CapturedPrebuild {
    let PrebuildRecord { name, secrets, .. } = prebuild.clone();
    CapturedPrebuild { name, manifest: "5".repeat(64), baseline: String::new(), secrets }
}

async fn is_gone(daytona: &Daytona, prebuild: &PrebuildRecord) {
    eventually(SOON, "a snapshot is deleted", async || {
        match daytona.client.get_snapshot(prebuild.name.to_string()).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Each prebuild of an answer: its use, and the field that is asked for.
fn by_use(answer: &Value, field: &str) -> BTreeMap<(String, String), String> {
    let word = |of: &Value| of.as_str().map_or_else(|| of.to_string(), str::to_owned);
    let prebuilds = answer["prebuilds"].as_array().unwrap().iter();
    prebuilds.map(|it| ((word(&it["target"]), word(&it["use"])), word(&it[field]))).collect()
}

fn expected<const N: usize>(rows: [(&str, &str, &str); N]) -> BTreeMap<(String, String), String> {
    rows.map(|(target, used, word)| ((target.to_owned(), used.to_owned()), word.to_owned())).into()
}

/// A fleet with one target whose promoted and captured prebuilds were built with NPM_TOKEN, and one without any.
struct Fleet {
    scene: Scene,
    daytona: Daytona,
    worker: Worker,
    kept: PrebuildRecord,
    promoted: PrebuildRecord,
    captured: PrebuildRecord,
    other: PrebuildRecord,
}

impl Fleet {
    async fn start() -> Self {
        let (daytona, mut scene) = (Daytona::start().await, Scene::start().await);
        daytona.tell(&mut scene);
        let worker = Worker::of(&scene).await;
        let kept = built(&scene, &daytona, GOOD, &["GITHUB_TOKEN"]).await;
        let promoted = built(&scene, &daytona, GOOD, &["GITHUB_TOKEN", "NPM_TOKEN"]).await;
        let captured_one = built(&scene, &daytona, GOOD, &["GITHUB_TOKEN", "NPM_TOKEN"]).await;
        let other = built(&scene, &daytona, BAD, &[]).await;
        let state = |of, promoted: &PrebuildRecord| TargetState {
            promoted: Some(promoted.clone()),
            ..TargetState::new(target(of), Utc::now())
        };
        let good = TargetState {
            kept: vec![kept.clone()],
            captured: Some(captured(&captured_one)),
            ..state(GOOD, &promoted)
        };
        worker.put(good).await;
        worker.put(state(BAD, &other)).await;
        Self { scene, daytona, worker, kept, promoted, captured: captured_one, other }
    }

    async fn end(self) {
        self.worker.broker.close().await;
        self.daytona.end().await;
    }
}

#[tokio::test]
async fn prebuilds_are_listed_with_use_age_secrets_and_daytonas_word() {
    let fleet = Fleet::start().await;
    let Fleet { scene, daytona, kept, .. } = &fleet;
    let id = daytona.client.get_snapshot(kept.name.to_string()).await.unwrap().unwrap().id;
    daytona.client.delete_snapshot(&id).await.unwrap();
    is_gone(daytona, kept).await;
    let answer = scene.ask("prebuilds list --json", Exit::Done).await.json();
    assert_eq!(
        by_use(&answer, "in_daytona"),
        expected([
            (GOOD, "promoted", "active"),
            (GOOD, "kept", "missing"),
            (GOOD, "captured", "active"),
            (BAD, "promoted", "active"),
        ]),
        "{answer}"
    );
    let said = scene.ask("prebuilds list acme/good", Exit::Done).await.out.text();
    assert!(said.contains("GITHUB_TOKEN, NPM_TOKEN") && said.contains("not verified"), "{said}");
    assert!(!said.contains(BAD), "{said}");
    scene.ask("prebuilds list acme/none", Exit::NotFound).await;
    fleet.end().await;
}

#[tokio::test]
async fn what_was_built_with_a_leaked_secret_is_withdrawn_and_rebuilt() {
    let fleet = Fleet::start().await;
    let Fleet { scene, daytona, worker, kept, promoted, captured, other } = &fleet;
    let refused = scene.ask("prebuilds revoke --secret NPM_TOKEN", Exit::Usage).await;
    assert!(refused.err.text().contains("--yes"), "{refused}");
    let answer = scene.ask("prebuilds revoke --secret NPM_TOKEN --dry-run --json", Exit::Done).await.json();
    let would_be = [(GOOD, "promoted", "would_be"), (GOOD, "captured", "would_be")];
    assert_eq!(by_use(&answer, "result"), expected(would_be), "{answer}");
    let answer = scene.ask("resolve acme/good --json", Exit::Done).await.json();
    assert_eq!(answer["name"], promoted.name.to_string(), "nothing was changed: {answer}");

    let answer = scene.ask("prebuilds revoke --secret NPM_TOKEN --yes --json", Exit::Done).await.json();
    let deleted = [(GOOD, "promoted", "deleted"), (GOOD, "captured", "deleted")];
    assert_eq!(by_use(&answer, "result"), expected(deleted), "{answer}");
    is_gone(daytona, promoted).await;
    is_gone(daytona, captured).await;
    let (delivery, job) = worker.take().await;
    assert_eq!(
        (answer["rebuilds"][0]["job"].as_str(), job.target),
        (Some(&*job.id.to_string()), target(GOOD))
    );
    assert_eq!(delivery.ack().await, Settled::Done);
    let answer = scene.ask("resolve acme/good --json", Exit::Done).await.json();
    assert_eq!(answer["name"], kept.name.to_string(), "{answer}");
    let answer = scene.ask("resolve acme/bad --json", Exit::Done).await.json();
    assert_eq!((&answer["name"], &answer["confirmed"]), (&other.name.to_string().into(), &true.into()));
    fleet.end().await;
}

#[tokio::test]
async fn explain_and_doctor_say_what_was_looked_up() {
    let fleet = Fleet::start().await;
    let Fleet { scene, daytona, promoted, kept, .. } = &fleet;
    let check = async || {
        let said = scene.ask("doctor --json", Exit::Failed).await.json();
        let checks = said["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["check"] == "prebuilds").unwrap()
    };
    assert_eq!(check().await["finding"], "ok");
    let id = daytona.client.get_snapshot(promoted.name.to_string()).await.unwrap().unwrap().id;
    daytona.client.delete_snapshot(&id).await.unwrap();
    is_gone(daytona, promoted).await;
    let failed = check().await;
    let detail = failed["detail"].as_str().unwrap();
    assert_eq!(failed["finding"], "failed");
    assert!(detail.contains(&promoted.name.to_string()) && !detail.contains(BAD), "{failed}");
    let explained = scene.ask("explain acme/good --json", Exit::Done).await.json();
    assert_eq!(explained["prebuild"]["in_daytona"], "missing", "{explained}");
    assert_eq!(
        (&explained["kept"][0]["name"], &explained["kept"][0]["in_daytona"]),
        (&kept.name.to_string().into(), &"active".into()),
        "{explained}"
    );
    let said = scene.ask("explain acme/good", Exit::Done).await.out.text();
    assert!(said.contains("NOT in Daytona") && said.contains("active in Daytona"), "{said}");
    fleet.end().await;
}

#[tokio::test]
async fn what_was_not_looked_up_is_said_so() {
    let scene = Scene::start().await;
    let worker = Worker::of(&scene).await;
    let promoted = record(&scene, GOOD, "unseen");
    worker.put(TargetState { promoted: Some(promoted), ..TargetState::new(target(GOOD), Utc::now()) }).await;
    let said = scene.ask("explain acme/good", Exit::Done).await.out.text();
    assert!(said.contains("not looked up in Daytona"), "{said}");
    let said = scene.ask("prebuilds list", Exit::Done).await.out.text();
    assert!(said.contains("not asked") && said.contains("DAYTONA_API_KEY"), "{said}");
    let said = scene.ask("doctor", Exit::Failed).await.out.text();
    assert!(said.contains("not looked up: Daytona cannot be used"), "{said}");
    worker.broker.close().await;
}

/// Somebody's attempt at the target, which holds its lease: under its second name, since a sandbox sticks under the first.
async fn hold_lease(fleet: &Fleet, attempt: AttemptId) {
    let Fleet { scene, daytona, .. } = fleet;
    let [first, second, _] = SandboxName::of(&scene.fleet, &target(GOOD)).all_of_target();
    for (name, attempt) in [(first, AttemptId::new()), (second, attempt)] {
        let labels: BTreeMap<String, String> =
            [("harvest.fleet", scene.fleet.to_string()), ("harvest.attempt", attempt.to_string())]
                .map(|(key, value)| (key.to_owned(), value))
                .into();
        let wish =
            ::daytona::NewSandbox { labels, ..::daytona::NewSandbox::new(name.as_str(), "harvest-snapshot") };
        daytona.client.create_sandbox(&wish).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_captured_and_not_verified_is_never_given() {
    let mut fleet = Fleet::start().await;
    hold_lease(&fleet, fleet.captured.attempt).await;
    // The register knows what was promoted; when that is gone, only what may have been verified is left.
    for gone in [&fleet.promoted, &fleet.kept] {
        let answer = fleet.scene.ask("resolve acme/good --json", Exit::Done).await.json();
        assert_ne!(answer["name"], fleet.captured.name.to_string(), "{answer}");
        let found = fleet.daytona.client.get_snapshot(gone.name.to_string()).await.unwrap().unwrap();
        fleet.daytona.client.delete_snapshot(&found.id).await.unwrap();
        is_gone(&fleet.daytona, gone).await;
    }
    fleet.scene.ask("resolve acme/good", Exit::NotFound).await;
    // Without the register the lease tells which one an attempt is at work on.
    let broker =
        std::mem::replace(&mut fleet.scene.amqp_url, "amqp://guest:guest@127.0.0.1:1/%2f".to_owned());
    fleet.scene.set("HARVEST_BROKER_CONNECT_TIMEOUT", "1s");
    fleet.scene.ask("resolve acme/good@main", Exit::NotFound).await;
    fleet.scene.amqp_url = broker;
    fleet.end().await;
}

/// A promotion by whoever knows the register as it is now.
async fn promote(register: &Register, promoted: &PrebuildRecord) -> Folded {
    register.sync(SOON).await.unwrap();
    let follows = register.get(&target(GOOD)).and_then(|state| state.promotion);
    let promotion =
        Promotion { follows, promoted: promoted.clone(), kept: Vec::new(), newest: None, at: None };
    register.append(&target(GOOD), Concern::Promotion(Box::new(promotion)), SOON).await.unwrap()
}

#[tokio::test]
async fn what_was_in_the_making_when_it_was_withdrawn_is_never_given() {
    let fleet = Fleet::start().await;
    let Fleet { scene, worker, captured, .. } = &fleet;
    // An attempt is at work on the captured one, and another has begun what nobody can name yet.
    hold_lease(&fleet, captured.attempt).await;
    let begun = PrebuildRecord { secrets: captured.secrets.clone(), ..record(scene, GOOD, "begun") };

    let explained = scene.ask("explain acme/good --json", Exit::Done).await.json();
    let holder = SandboxName::of(&scene.fleet, &target(GOOD)).all_of_target()[1].to_string();
    assert_eq!(explained["lease"]["sandbox"], holder, "{explained}");

    let answer = scene.ask("prebuilds revoke --since 1h --yes --json", Exit::Done).await.json();
    let results = by_use(&answer, "result");
    assert_eq!(results[&(GOOD.to_owned(), "captured".to_owned())], "left_to_its_attempt", "{answer}");
    assert_eq!(results[&(BAD.to_owned(), "promoted".to_owned())], "deleted", "{answer}");

    let register = Register::follow(&worker.broker);
    let late = PrebuildRecord { built_at: Utc::now(), ..begun };
    assert_eq!(promote(&register, &late).await, Folded::Taken);
    assert_eq!(register.get(&target(GOOD)).unwrap().promoted, None, "its attempt began before");
    let anew = PrebuildRecord { secrets: captured.secrets.clone(), ..record(scene, GOOD, "anew") };
    assert!(anew.attempt > AttemptId::clone(&late.attempt));
    assert_eq!(promote(&register, &anew).await, Folded::Taken);
    assert_eq!(register.get(&target(GOOD)).unwrap().promoted, Some(anew), "its attempt began afterwards");
    fleet.end().await;
}
