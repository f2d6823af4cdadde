//! What dead workers left is swept by one process, the keeper in the active producer, and nobody else's is ever touched.

use daytona::{CreateOutcome, NewSandbox, Sandbox};
use fleet_tests::eventually;
use fleet_tests::processes::FleetProcess;
use job::{AttemptId, SandboxName, Target};
use serde_json::json;

use super::scene::{BUILD, SOON, Scene};

const FLEET_LABEL: &str = "harvest.fleet";
const ATTEMPT_LABEL: &str = "harvest.attempt";

fn named(fleet: &str, target: &str) -> String {
    SandboxName::of(&fleet.parse().unwrap(), &target.parse::<Target>().unwrap()).as_str().to_owned()
}

impl Scene {
    /// A sandbox of this fleet that nobody beats for.
    pub(super) fn left_behind_as(&self, name: &SandboxName) -> NewSandbox {
        let attempt = AttemptId::new().to_string();
        let labels = [(FLEET_LABEL, self.fleet.name()), (ATTEMPT_LABEL, &attempt)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        NewSandbox { labels, ..NewSandbox::new(name.as_str(), "harvest-snapshot") }
    }

    pub(super) async fn left_behind(&self, target: &str) -> Sandbox {
        let spec = self.left_behind_as(&self.sandbox_name(&target.parse().unwrap()));
        let CreateOutcome::Created(sandbox) = self.daytona.create_sandbox(&spec).await.unwrap() else {
            panic!("no sandbox for {target}");
        };
        *sandbox
    }

    /// Sandboxes that look like this fleet's, and are not.
    async fn of_others(&self) -> Vec<(&'static str, Sandbox)> {
        let fleet = self.fleet_name();
        let ours = fleet.as_str();
        let others = [
            ("a stranger's", "session-of-a-person".to_owned(), None),
            ("ours by label, not by name", "session-with-label".to_owned(), Some(ours)),
            ("ours by name, not by label", named(ours, "acme/unlabelled@main"), None),
            ("another fleet's", named("other", "acme/a@main"), Some("other")),
            ("another fleet's by name", named("other", "acme/b@main"), Some(ours)),
            ("another fleet's by label", named(ours, "acme/c@main"), Some("other")),
        ];
        let mut made = Vec::new();
        for (whose, name, label) in others {
            let labels: Vec<_> = label.map(|label| (FLEET_LABEL, label)).into_iter().collect();
            made.push((whose, self.somebodys(&name, &labels).await));
        }
        made
    }

    pub(super) async fn until_gone(&self, left: &Sandbox, keeper: impl Fn() -> String) {
        eventually(BUILD, "what was left behind is swept", async || {
            if self.is_there(left).await { Err(keeper()) } else { Ok(()) }
        })
        .await;
    }
}

fn told(keeper: &FleetProcess) -> String {
    keeper.stdout() + &keeper.stderr()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_sweeps_what_a_dead_worker_left_and_nothing_else() {
    let scene = Scene::with(|plan| plan.lease = ("300ms", "1s")).await;
    let spared = scene.of_others().await;
    let left = scene.left_behind("acme/left@main").await;
    let keeper = scene.fleet.keeper().await.unwrap();
    scene.until_gone(&left, || told(&keeper)).await;
    // And one that is left later, by when all the others have been looked at often enough.
    scene.until_gone(&scene.left_behind("acme/left-later@main").await, || told(&keeper)).await;
    for (whose, sandbox) in &spared {
        assert!(scene.is_there(sandbox).await, "{whose} was removed: {}", told(&keeper));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keeper_sweeps_on_where_one_was_killed() {
    let scene = Scene::with(|plan| plan.lease = ("300ms", "1s")).await;
    let spared = scene.of_others().await;
    let mut left = Vec::new();
    for target in ["acme/first@main", "acme/second@main", "acme/third@main"] {
        left.push(scene.left_behind(target).await);
    }
    // The first keeper's deletions are under way for as long as it lives.
    let delay = json!({
        "match": { "method": "DELETE", "path_pattern": "/api/sandbox/*" }, "times": left.len(),
        "action": { "kind": "delay", "milliseconds": 3_600_000 }
    });
    scene.fleet.plant_fault(&delay).await.unwrap();
    let mut first = scene.fleet.keeper().await.unwrap();
    let mut second = scene.fleet.standby().unwrap();
    second.says("another producer is active", SOON).await.unwrap();
    eventually(BUILD, "three deletions are under way at once", async || {
        let counted = scene.fleet.requests().await.map_err(|error| error.to_string())?;
        let asked = counted["requests"]["DELETE /api/sandbox/{sandbox}"].as_u64().unwrap_or(0);
        if asked == 3 { Ok(()) } else { Err(format!("{counted}: {}", told(&first))) }
    })
    .await;
    assert!(!told(&second).contains("swept a sandbox"), "a standby sweeps nothing: {}", told(&second));
    first.kill9().unwrap();

    second.says("this producer is the active one", SOON).await.unwrap();
    for left in &left {
        scene.until_gone(left, || told(&second)).await;
    }
    eventually(SOON, "the second keeper says so of each", async || {
        let swept = told(&second).matches("swept a sandbox").count();
        if swept == left.len() { Ok(()) } else { Err(told(&second)) }
    })
    .await;
    for (whose, sandbox) in &spared {
        assert!(scene.is_there(sandbox).await, "{whose} was removed: {}", told(&second));
    }
}
