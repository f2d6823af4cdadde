//! One target, one build: who has the lease, who waits, who is removed, and who is never touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use daytona::{CreateOutcome, NewSandbox, Sandbox};
use fleet_tests::eventually;
use fleet_tests::fleet::FleetPlan;
use fleet_tests::guard;
use fleet_tests::processes::FleetProcess;
use job::{
    AttemptId, CommandSetting, FailureKind, FleetState, Job, JobId, NextAttempt, OutcomeWord, Reason,
    RegisterEntry, Tick,
};

use super::scene::{BUILD, SOON, Scene};
use super::steps::{HELD, shortly};

const EVERY: Duration = Duration::from_mins(30);
const ATTEMPT_LABEL: &str = "harvest.attempt";
const JOB_LABEL: &str = "harvest.job";

/// No-ops of scheduled jobs are told at once.
fn telling_at_once(plan: &mut FleetPlan) {
    plan.worker_lines = "[ledger]\nbatch = \"100ms\"\n".into();
}

impl Scene {
    fn scheduled(&self, job: Job, tick: Tick) -> Job {
        let id = JobId::scheduled(&self.fleet_name(), tick, &job.target);
        Job { id, reason: Reason::Scheduled { tick }, ..job }
    }

    /// A sandbox that somebody made by hand.
    pub(super) async fn somebodys(&self, name: &str, labels: &[(&str, &str)]) -> Sandbox {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let wish = NewSandbox { labels, ..NewSandbox::new(name, "harvest-snapshot") };
        let CreateOutcome::Created(sandbox) = self.daytona.create_sandbox(&wish).await.unwrap() else {
            panic!("{name} was not created");
        };
        *sandbox
    }

    pub(super) async fn is_there(&self, sandbox: &Sandbox) -> bool {
        self.daytona
            .get_sandbox(sandbox.id.as_str())
            .await
            .unwrap()
            .is_some_and(|found| !found.state.is_going())
    }

    /// Waits until so many deliveries of these jobs have ended: one built, the others found it. Which is which is open, since
    /// between capture and verification the lease is free for a moment.
    async fn built_once(&self, jobs: &[JobId], deliveries: usize) {
        let last = eventually(BUILD, &format!("{deliveries} deliveries of {jobs:?} end"), async || {
            let ends: Vec<_> = jobs.iter().flat_map(|job| self.ends_of(*job)).collect();
            let last: Vec<_> = ends.iter().filter(|end| end.is_last()).cloned().collect();
            if last.len() == deliveries { Ok(last) } else { Err(shortly(&ends)) }
        })
        .await;
        let built = last.iter().filter(|end| end.outcome == OutcomeWord::Built).count();
        let unchanged = last.iter().filter(|end| end.outcome == OutcomeWord::Unchanged).count();
        assert_eq!((built, unchanged), (1, deliveries - 1), "{}", shortly(&last));
        assert!(last.iter().all(|end| end.number == 1), "nobody's attempt is used up: {}", shortly(&last));
        assert_eq!(self.captures().await, 1);
    }

    pub(super) async fn two_workers(&self) -> [FleetProcess; 2] {
        [self.fleet.worker().await.unwrap(), self.fleet.worker().await.unwrap()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_delivered_twice_is_built_once() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/twice").await;
    let _workers = scene.two_workers().await;
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    let busy = scene.end_where(&job, "busy", |end| end.outcome == OutcomeWord::Busy).await;
    assert_eq!((busy.decision.as_str(), busy.next), ("retry", Some(NextAttempt::Free)));
    scene.let_go(&sandbox).await;

    scene.built_once(&[job.id], 2).await;
    assert_eq!(scene.prebuilds().await.len(), 1);
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_job_asked_for_waits_for_anothers_build() {
    let scene = Scene::with(|plan| {
        telling_at_once(plan);
        // It looks again after 30 s, not in the very moment between a build and its verification, three times over.
        plan.retry_delays = vec!["2s", "5s"];
    })
    .await;
    let (target, _) = scene.small("acme/taken").await;
    let _workers = scene.two_workers().await;
    let building = scene.job_building(&target, HELD);
    scene.publish(&building).await;
    let sandbox = scene.until_held(&target).await;

    let scheduled = scene.scheduled(scene.job_building(&target, HELD), Tick::at_or_before(Utc::now(), EVERY));
    scene.publish(&scheduled).await;
    assert_eq!(scene.no_op(&scheduled).await.outcome, OutcomeWord::Busy);
    scene.queues_are_empty().await;

    let asked_for = scene.job_building(&target, HELD);
    scene.publish(&asked_for).await;
    scene
        .end_where(&asked_for, "busy", |end| end.outcome == OutcomeWord::Busy && end.decision == "retry")
        .await;
    assert!(scene.is_there(&sandbox).await, "a living holder keeps its sandbox");
    scene.let_go(&sandbox).await;
    scene.built_once(&[building.id, asked_for.id], 2).await;
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_holder_outlasts_the_patience_for_dead_ones() {
    let scene = Scene::with(|plan| plan.lease = ("200ms", "1s")).await;
    let (target, _) = scene.small("acme/patient").await;
    let _workers = scene.two_workers().await;
    let building = scene.job_building(&target, HELD);
    scene.publish(&building).await;
    let sandbox = scene.until_held(&target).await;
    let waiting = scene.job_building(&target, HELD);
    scene.publish(&waiting).await;
    // Every look is at least a delay queue after the one before: these outlast `stale` several times.
    let ends = scene.ends(waiting.id, 10).await;
    assert!(ends.iter().all(|end| end.outcome == OutcomeWord::Busy), "{}", shortly(&ends));
    assert!(scene.is_there(&sandbox).await);
    scene.let_go(&sandbox).await;
    scene.built_once(&[building.id, waiting.id], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_sandbox_of_the_same_name_is_left_alone() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/squatted").await;
    let foreign = scene.somebodys(scene.sandbox_name(&target).as_str(), &[]).await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, "true");
    scene.publish(&job).await;
    let end = scene.last_end(&job).await;
    let failure = end.failure.as_ref().map(|failure| failure.id);
    assert_eq!((end.number, failure), (1, Some(FailureKind::ProvisionNameTaken)), "{end:?}");
    scene.dead_letters(1).await;
    assert!(scene.is_there(&foreign).await);
    assert_eq!(
        scene.daytona.get_sandbox(foreign.id.as_str()).await.unwrap().unwrap().labels,
        BTreeMap::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_deleted_under_its_worker_is_built_anew() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/deleted").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let deleted = scene.until_held(&target).await;
    scene.daytona.delete_sandbox(&deleted.id).await.unwrap();

    let again = scene.until_held_anew(&target, &deleted.id).await;
    scene.let_go(&again).await;
    let end = scene.end_where(&job, "built", |end| end.outcome == OutcomeWord::Built).await;
    let ends = scene.ends_of(job.id);
    let lost = ends[0].outcome == OutcomeWord::LeaseLost
        || ends[0].failure.as_ref().is_some_and(|failure| failure.id == FailureKind::SandboxLost);
    assert!(lost && end.decision == "ack", "{}", shortly(&ends));
    assert_eq!(scene.captures().await, 1);
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_lease_passed_to_another_touches_nothing_more() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/passed").await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let sandbox = scene.until_held(&target).await;
    let (other_attempt, other_job) = (AttemptId::new().to_string(), JobId::on_demand().to_string());
    eventually(SOON, "the worker sees that the lease is another's", async || {
        // The holder's own beat may overwrite this once.
        let mut labels = sandbox.labels.clone();
        labels.insert(ATTEMPT_LABEL.into(), other_attempt.clone());
        labels.insert(JOB_LABEL.into(), other_job.clone());
        scene.daytona.replace_labels(&sandbox.id, &labels).await.map_err(|error| error.to_string())?;
        let ends = scene.ends_of(job.id);
        if ends.is_empty() { Err(scene.story()) } else { Ok(()) }
    })
    .await;
    let first = &scene.ends_of(job.id)[0];
    assert_eq!((first.outcome, first.decision.as_str()), (OutcomeWord::LeaseLost, "drop"));
    assert!(scene.is_there(&sandbox).await, "it is another's: not the loser's to delete");

    // That other never beats. The message came back by itself, and waits for it to be dead.
    let again = scene.until_held_anew(&target, &sandbox.id).await;
    scene.let_go(&again).await;
    scene.end_where(&job, "built", |end| end.outcome == OutcomeWord::Built).await;
    assert_eq!(scene.captures().await, 1);
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
    assert_eq!(worker.terminate(SOON).await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_job_of_an_earlier_tick_is_superseded() {
    let scene = Scene::with(telling_at_once).await;
    let (target, _) = scene.small("acme/late").await;
    let now = Tick::at_or_before(Utc::now(), EVERY);
    let earlier = Tick::at_or_before(now.time() - chrono::Duration::minutes(30), EVERY);
    scene
        .register
        .put(&RegisterEntry::Fleet(FleetState { last_tick: Some(now), since: None }))
        .await
        .unwrap();
    let late = scene.scheduled(scene.job_building(&target, "true"), earlier);
    scene.publish(&late).await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.no_op(&late).await.outcome, OutcomeWord::Superseded);
    assert_eq!(scene.sandboxes_created().await, 0);

    let current = scene.scheduled(scene.job_building(&target, "true"), now);
    scene.publish(&current).await;
    assert_eq!(
        scene.last_end(&current).await.outcome,
        OutcomeWord::Built,
        "the newest tick's own job is worked on"
    );
    scene.queues_are_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_goes_back_is_given_its_kept_prebuild_again() {
    let scene = Scene::start().await;
    let (target, first) = scene.small("acme/back").await;
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let kept = scene.promoted(&target).await;
    let second = scene.git.commit("acme/back", "main", &[("NOTES.md", "more\n")]).await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    assert_eq!(scene.promoted(&target).await.commit.as_str(), second);

    point_branch(&scene, "acme/back", "main", &first);
    let (captures, created) = (scene.captures().await, scene.sandboxes_created().await);
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    let state = scene.state(&target).await;
    assert_eq!(state.promoted.as_ref().map(|prebuild| &prebuild.name), Some(&kept.name));
    assert_eq!(
        state.kept.iter().map(|prebuild| prebuild.commit.as_str()).collect::<Vec<_>>(),
        [second.as_str()]
    );
    assert_eq!(
        (scene.captures().await, scene.sandboxes_created().await),
        (captures, created),
        "nothing is built for it"
    );
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prebuild_that_another_attempt_promoted_is_not_judged_again() {
    let shown = guard::temporary_directory("shown").unwrap();
    let good = shown.path().join("good");
    std::fs::write(&good, "").unwrap();
    let scene =
        Scene::with(|plan| plan.sandboxd_flags.extend(["--expose-read-only".into(), shown.path().into()]))
            .await;
    let (target, _) = scene.small("acme/judged").await;
    // The first attempt's verification starts late: in between another one takes up what the first has captured.
    scene.delay_verification(Duration::from_secs(20)).await;
    let _workers = scene.two_workers().await;
    let verify = Some(CommandSetting::Run(format!("test -e {}", good.display())));
    let job = || scene.job_with(&target, |settings| settings.commands.verify.clone_from(&verify));
    let (first, second) = (job(), job());
    scene.publish(&first).await;
    scene.until_verification_waits().await;
    scene.publish(&second).await;
    assert_eq!(scene.last_end(&second).await.outcome, OutcomeWord::Built);
    assert_eq!(scene.ends_of(first.id), []);

    // A second judgement would be a bad one.
    std::fs::remove_file(&good).unwrap();
    let end = scene.last_end(&first).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Unchanged, 1), "{end:?}");
    let prebuild = scene.promoted(&target).await;
    assert_eq!(scene.prebuilds().await, [prebuild.name.to_string()]);
    scene.session(&prebuild).await.end().await;
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}

/// Points a branch of the served repository at a commit it has, whatever the branch is called.
pub(super) fn point_branch(scene: &Scene, repository: &str, branch: &str, commit: &str) {
    let served = scene.git.file_url(repository);
    let served = Path::new(served.strip_prefix("file://").unwrap());
    let mut git = std::process::Command::new("git");
    git.current_dir(served).args(["update-ref", &format!("refs/heads/{branch}"), commit]);
    let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{branch}: {}", String::from_utf8_lossy(&output.stderr));
}
