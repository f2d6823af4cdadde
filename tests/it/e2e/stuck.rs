//! A sandbox that sticks does not keep its target from being built, and whoever wakes up in it builds nothing.

use daytona::Sandbox;
use fleet_tests::eventually;
use fleet_tests::fleet::FleetPlan;
use fleet_tests::processes::FleetProcess;
use job::{AttemptEnd, LedgerEntry, LedgerEvent, NoOp, OutcomeWord, SandboxName, Target};
use rustix::process::Signal;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::scene::{BUILD, SOON, Scene};
use super::steps::HELD;

/// An hour of Daytona's, in seconds of the test: an answer to the create is waited for, a start, and then the name.
fn soon_out_of_patience(plan: &mut FleetPlan) {
    plan.lease = ("300ms", "1s");
    plan.stuck = Some("12s");
    plan.worker_lines = "[sandboxes]\nstart_timeout = \"10s\"\n".into();
}

impl Scene {
    /// The next sandbox stays `creating` until [`fleet_tests::fleet::Fleet::heal`], and can't be deleted.
    async fn let_next_stick(&self) {
        let create = json!({ "method": "POST", "path_pattern": "/api/sandbox" });
        let sticks = json!({ "match": create, "times": 1, "action": { "kind": "stuck_state" } });
        self.fleet.plant_fault(&sticks).await.unwrap();
    }

    /// Who stands under the target's names, in their order.
    async fn standing(&self, target: &Target) -> Vec<Option<Sandbox>> {
        let mut standing = Vec::new();
        for name in self.sandbox_name(target).all_of_target() {
            standing.push(self.daytona.get_sandbox(name.as_str()).await.unwrap());
        }
        standing
    }

    async fn until_stuck(&self, target: &Target) -> Sandbox {
        self.until_stuck_under(&self.sandbox_name(target)).await
    }

    async fn until_stuck_under(&self, name: &SandboxName) -> Sandbox {
        eventually(BUILD, "a sandbox sticks", async || {
            let found = self.daytona.get_sandbox(name.as_str()).await.map_err(|error| error.to_string())?;
            found.filter(|sandbox| sandbox.state.is_pending()).ok_or_else(|| self.story())
        })
        .await
    }

    /// Attempts at the target that changed something.
    fn ends_of_target(&self, target: &Target) -> Vec<AttemptEnd> {
        let of_target = |entry: LedgerEntry| match entry.event {
            LedgerEvent::AttemptEnded(end) if end.target == *target => Some(*end),
            _ => None,
        };
        self.told().into_iter().filter_map(of_target).collect()
    }

    /// Whether a scheduled job found the target taken, and ended.
    fn was_taken(&self, target: &Target) -> bool {
        let is_busy = |no_op: &NoOp| no_op.target == *target && no_op.outcome == OutcomeWord::Busy;
        self.told().iter().any(|entry| match &entry.event {
            LedgerEvent::NoOps { jobs } => jobs.iter().any(is_busy),
            _ => false,
        })
    }

    async fn until_swept(&self, keeper: &FleetProcess) {
        eventually(BUILD, "what stuck is swept", async || {
            let left = self.sandboxes().await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}: {}", keeper.stderr())) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_sandbox_sticks_is_built_under_its_next_name() {
    let scene = Scene::with(soon_out_of_patience).await;
    let (target, commit) = scene.small("acme/stuck").await;
    scene.let_next_stick().await;
    let keeper = scene.fleet.keeper().await.unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;
    let stuck = scene.until_stuck(&target).await;

    let end = scene.end_where(&job, "built", |end| end.outcome == OutcomeWord::Built).await;
    assert_eq!(end.decision, "ack");
    let prebuild = scene.promoted(&target).await;
    assert_eq!(prebuild.commit.as_str(), commit);
    assert_eq!(scene.captures().await, 1);
    let [Some(first), None, None] = &scene.standing(&target).await[..] else {
        panic!("{:?}", scene.standing(&target).await)
    };
    assert_eq!(first.id, stuck.id, "nothing can delete it");
    // While the answer to its create was awaited nobody beat either: it may have been said of that time, too.
    let said = || keeper.stderr().matches("a sandbox sticks").count();
    let said_before = eventually(BUILD, "the keeper says that it sticks", async || {
        Some(said()).filter(|times| *times > 0).ok_or_else(|| keeper.stderr())
    })
    .await;

    scene.fleet.heal().await.unwrap();
    scene.until_swept(&keeper).await;
    assert_eq!(said(), said_before, "it is said once");
    assert_eq!(scene.captures().await, 1);
    assert_eq!(scene.prebuilds().await, [prebuild.name.to_string()]);
    scene.queues_are_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_jobs_alone_build_beside_sandboxes_that_stick() {
    let scene = Scene::with(|plan| {
        soon_out_of_patience(plan);
        plan.worker_lines += "\n[ledger]\nbatch = \"100ms\"\n";
    })
    .await;
    let (target, commit) = scene.small("acme/scheduled").await;
    // Left by attempts whose jobs are no more: no message counts how long these have been silent.
    let [first, second, third] = scene.sandbox_name(&target).all_of_target();
    let mut creating = Vec::new();
    for name in [first, second] {
        scene.let_next_stick().await;
        let (daytona, spec) = (scene.daytona.clone(), scene.left_behind_as(&name));
        let create = tokio::spawn(async move { daytona.create_sandbox(&spec).await });
        creating.push(AbortOnDropHandle::new(create));
        scene.until_stuck_under(&name).await;
    }
    let clone_url = scene.git.url_template();
    let fleet_file = format!(
        "[defaults]\nevery = \"2s\"\nbranch = \"main\"\nclone_url = \"{clone_url}\"\n\n\
         [[repository]]\nname = \"acme/scheduled\"\ncommands = {{ build = \"true\" }}\n"
    );
    std::fs::write(scene.fleet.fleet_file(), fleet_file).unwrap();
    let keeper = scene.fleet.keeper().await.unwrap();
    let worker = scene.fleet.worker().await.unwrap();

    let built = eventually(BUILD, "a tick's job builds it", async || {
        let ends = scene.ends_of_target(&target);
        ends.first().cloned().ok_or_else(|| format!("{}: {}", scene.story(), worker.stderr()))
    })
    .await;
    assert_eq!((built.outcome, built.number), (OutcomeWord::Built, 1), "at its first attempt: {built:?}");
    assert!(scene.was_taken(&target), "the ticks before found it taken, and nothing of them waits");
    assert_eq!(scene.promoted(&target).await.commit.as_str(), commit);
    assert_eq!(scene.captures().await, 1);
    let standing = scene.standing(&target).await;
    assert!(matches!(standing[..], [Some(_), Some(_), None]), "nothing can delete them: {standing:?}");
    assert!(worker.stderr().contains(third.as_str()), "{}", worker.stderr());
    scene.fleet.heal().await.unwrap();
    scene.until_swept(&keeper).await;
    assert_eq!(scene.captures().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wakes_up_under_the_name_before_builds_nothing() {
    let scene = Scene::with(soon_out_of_patience).await;
    let (target, _) = scene.small("acme/woken").await;
    scene.let_next_stick().await;
    let mut frozen = scene.fleet.worker().await.unwrap();
    let first = scene.job_building(&target, HELD);
    scene.publish(&first).await;
    let stuck = scene.until_stuck(&target).await;
    frozen.signal(Signal::STOP).unwrap();

    let keeper = scene.fleet.keeper().await.unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    let second = scene.job_building(&target, HELD);
    scene.publish(&second).await;
    let [_, next, _] = scene.sandbox_name(&target).all_of_target();
    let held = scene.until_held_under(&next).await;
    scene.fleet.heal().await.unwrap();
    scene
        .daytona
        .wait_until_started(&stuck.id, tokio::time::Instant::now() + SOON, daytona::pace::COLD_START)
        .await
        .ok();
    frozen.signal(Signal::CONT).unwrap();
    scene.until_swept_but(&held).await;
    scene.let_go(&held).await;

    for job in [&first, &second] {
        let well = |end: &job::AttemptEnd| end.outcome.is_success() || end.outcome == OutcomeWord::Unchanged;
        scene.end_where(job, "well", well).await;
    }
    assert_eq!(scene.captures().await, 1, "nothing is built twice");
    scene.until_swept(&keeper).await;
    scene.queues_are_empty().await;
}

impl Scene {
    /// Waits until nothing stands there but this sandbox.
    async fn until_swept_but(&self, held: &Sandbox) {
        eventually(BUILD, "who woke up is gone", async || {
            let left: Vec<_> = self.sandboxes().await.into_iter().map(|sandbox| sandbox.id).collect();
            if left == [held.id.clone()] { Ok(()) } else { Err(format!("{left:?}; {}", self.story())) }
        })
        .await;
    }
}
