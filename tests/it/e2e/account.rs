//! The organization's limits and its key: nobody asks what an API key is not told, a refusal is met once, and a key that the API
//! refuses is asked about by one program of the fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use fleet_tests::eventually;
use job::{Job, OutcomeWord, Reason, Resource, Tick};
use serde_json::json;

use super::scene::{BUILD, SOON, Scene};
use super::steps::HELD;

const WHOAMI: &str = "GET /api/api-keys/current";

impl Scene {
    async fn requests_of(&self, route: &str) -> u64 {
        self.fleet.requests().await.unwrap()["requests"][route].as_u64().unwrap_or(0)
    }

    /// Every request that sandboxd got, toolboxes included, and those of one route, as of one moment.
    async fn all_requests_and(&self, route: &str) -> (u64, u64) {
        let counted = self.fleet.requests().await.unwrap();
        let routes = counted["requests"].as_object().unwrap();
        let all = routes.values().filter_map(serde_json::Value::as_u64).sum();
        (all, routes.get(route).and_then(serde_json::Value::as_u64).unwrap_or(0))
    }

    async fn until_limit_met(&self, resource: Resource) {
        eventually(BUILD, &format!("the register has a limit of {resource}"), async || {
            let account = self.register.account();
            let met = account.limits_met().find(|met| met.resource == resource);
            met.map(|_| ()).ok_or_else(|| format!("{account:?}; {}", self.story()))
        })
        .await;
    }

    /// Waits until the first attempt of this job ended for want of room.
    async fn until_without_room(&self, job: &Job) {
        eventually(BUILD, &format!("{} finds no room", job.target), async || {
            match self.ends_of(job.id).first().map(|end| (end.outcome, end.number)) {
                Some((OutcomeWord::Failed, _)) => Ok(()),
                other => Err(format!("{other:?}; {}", self.story())),
            }
        })
        .await;
    }
}

/// Daytona counts failed authentications per address: the real one answered 429 on every route after some, with a valid key.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_the_doctor_never_fail_to_authenticate() {
    let scene = Scene::with(|plan| {
        plan.sandboxd_flags.extend(["--failed-authentications".into(), "1".into()]);
        plan.worker_lines =
            "[quota]\ncpu = 100\nmemory_gb = 100\ndisk_gb = 1000\nsnapshots = 50\ncount = \"1ms\"\n".into();
    })
    .await;
    let (target, _) = scene.small("acme/shy").await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Unchanged);
    let doctor = scene.fleet.ask(&["doctor"], SOON).await.unwrap();
    assert!(doctor.stdout.contains("limits"), "{doctor:?}");
    scene.git.commit("acme/shy", "main", &[("NOTES.md", "more\n")]).await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_one_worker_met_is_tried_by_no_other() {
    let scene = Scene::with(|plan| {
        // One sandbox fits: the base has two vCPUs.
        plan.sandboxd_flags.extend(["--quota-cpu".into(), "2".into()]);
        plan.worker_lines = "[quota]\ncount = \"100ms\"\nreserve_for_sessions = 0\n".into();
        plan.slots = 2;
    })
    .await;
    let mut jobs = Vec::new();
    for name in ["first", "second", "third", "fourth"] {
        let (target, _) = scene.small(&format!("acme/{name}")).await;
        jobs.push(scene.job_building(&target, if name == "first" { HELD } else { "true" }));
    }
    let _workers = [scene.fleet.worker().await.unwrap(), scene.fleet.worker().await.unwrap()];
    scene.publish(&jobs[0]).await;
    let held = scene.until_held(&jobs[0].target).await;
    scene.publish(&jobs[1]).await;
    scene.until_without_room(&jobs[1]).await;
    scene.until_limit_met(Resource::Cpu).await;
    let creates = scene.requests_of("POST /api/sandbox").await;
    for job in &jobs[2..] {
        scene.publish(job).await;
        scene.until_without_room(job).await;
    }
    assert_eq!(scene.requests_of("POST /api/sandbox").await, creates, "{}", scene.story());
    // What the fleet gives back itself is tried at once, and no attempt was used up.
    scene.let_go(&held).await;
    for job in &jobs {
        let end = scene.last_end(job).await;
        assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    }
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_set_are_kept_without_meeting_them() {
    let scene = Scene::with(|plan| {
        plan.worker_lines = "[quota]\ncpu = 2\ncount = \"100ms\"\nreserve_for_sessions = 1\n".into();
        plan.slots = 2;
    })
    .await;
    let (one, _) = scene.small("acme/one").await;
    let (other, _) = scene.small("acme/other").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let (first, second) = (scene.job_building(&one, HELD), scene.job_building(&other, "true"));
    scene.publish(&first).await;
    let held = scene.until_held(&one).await;
    let creates = scene.requests_of("POST /api/sandbox").await;
    scene.publish(&second).await;
    scene.until_without_room(&second).await;
    assert_eq!(scene.requests_of("POST /api/sandbox").await, creates);
    scene.let_go(&held).await;
    assert_eq!(scene.last_end(&first).await.outcome, OutcomeWord::Built);
    assert_eq!(scene.last_end(&second).await.outcome, OutcomeWord::Built);
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_program_asks_about_a_key_that_is_refused() {
    let scene = Scene::with(|plan| {
        plan.slots = 2;
        plan.worker_lines = "[daytona]\nrefused_key_pause = \"1s\"\n".into();
    })
    .await;
    let workers = [
        scene.fleet.worker().await.unwrap(),
        scene.fleet.worker().await.unwrap(),
        scene.fleet.worker().await.unwrap(),
    ];
    let refused = json!({
        "match": { "path_pattern": "/api/**" }, "times": 1_000_000,
        "action": { "kind": "answer", "status": 401, "body": { "message": "Invalid credentials" } }
    });
    scene.fleet.plant_fault(&refused).await.unwrap();
    let mut jobs = Vec::new();
    for number in 0..6 {
        let (target, _) = scene.small(&format!("acme/locked-{number}")).await;
        jobs.push(scene.job_building(&target, "true"));
        scene.publish(&jobs[number]).await;
    }
    for worker in &workers {
        eventually(SOON, "every worker knows that the key is refused", async || {
            let log = worker.stderr();
            if log.contains("Daytona refuses DAYTONA_API_KEY") { Ok(()) } else { Err(log) }
        })
        .await;
    }
    let before = scene.all_requests_and(WHOAMI).await;
    eventually(SOON, "the key is asked about twice more", async || {
        let asked = scene.requests_of(WHOAMI).await;
        if asked >= before.1 + 2 { Ok(()) } else { Err(format!("{asked} times")) }
    })
    .await;
    let (all, asked) = scene.all_requests_and(WHOAMI).await;
    assert_eq!(all - before.0, asked - before.1, "nobody sends anything else");
    // Who can't ask leaves it to another.
    scene.fleet.heal().await.unwrap();
    let down = json!({
        "match": { "path_pattern": "/api/api-keys/current" }, "times": 6, "action": { "kind": "answer", "status": 503 }
    });
    scene.fleet.plant_fault(&down).await.unwrap();
    for job in &jobs {
        let end = scene.last_end(job).await;
        assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 1), "{end:?}");
    }
    scene.nothing_leaks().await;
}

/// What one job asks of Daytona's API: the rate limit is the whole organization's.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_asks_no_more_of_the_api_than_it_must() {
    let scene = Scene::with(|plan| {
        // Without a beat or a second look meanwhile.
        plan.lease = ("5m", "15m");
        plan.stuck = Some("30m");
        plan.slots = 2;
    })
    .await;
    let asked = async || -> BTreeMap<String, u64> {
        let counted = scene.fleet.requests().await.unwrap();
        let routes = counted["requests"].as_object().unwrap().clone();
        let of_api = routes.into_iter().filter(|(route, _)| route.contains(" /api/"));
        of_api.map(|(route, times)| (route, times.as_u64().unwrap())).collect()
    };
    let since = |before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>| -> BTreeMap<String, u64> {
        let more =
            after.into_iter().map(|(route, times)| (route.clone(), times - before.get(&route).unwrap_or(&0)));
        more.filter(|(_, times)| *times > 0).collect()
    };
    let (target, _) = scene.small("acme/asks").await;
    let worker = scene.fleet.worker().await.unwrap();
    let before = asked().await;
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let built = since(&before, asked().await);
    let before = asked().await;
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Unchanged);
    let unchanged = since(&before, asked().await);
    scene.git.commit("acme/asks", "main", &[("NOTES.md", "more\n")]).await.unwrap();
    let holds = scene.job_building(&target, HELD);
    scene.publish(&holds).await;
    let held = scene.until_held(&target).await;
    let mut late = scene.job_building(&target, HELD);
    late.reason = Reason::Scheduled { tick: Tick::at_or_before(Utc::now(), Duration::from_mins(30)) };
    let before = asked().await;
    scene.publish(&late).await;
    eventually(BUILD, "the second job finds its target taken", async || {
        let log = worker.stderr();
        if log.contains("\"outcome\":\"busy\"") { Ok(()) } else { Err(log) }
    })
    .await;
    let busy = since(&before, asked().await);
    scene.let_go(&held).await;
    scene.last_end(&holds).await;
    let total = |asked: &BTreeMap<String, u64>| asked.values().sum::<u64>();
    eprintln!(
        "built {}: {built:#?}\nunchanged {}: {unchanged:#?}\nbusy {}: {busy:#?}",
        total(&built),
        total(&unchanged),
        total(&busy)
    );
    for asked in [&built, &unchanged, &busy] {
        assert!(asked.keys().all(|route| !route.contains("/organizations/")), "{asked:?}");
    }
    assert!(total(&unchanged) <= 2, "{unchanged:?}");
    assert!(total(&busy) <= 6, "{busy:?}");
    scene.nothing_leaks().await;
}
