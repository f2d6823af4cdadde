//! Who pays for what a repository's code does to its sandbox: nothing it says or breaks there is free, shared or held for long.

use daytona::{CreateOutcome, NewSandbox};
use job::{AttemptEnd, AttemptId, Blame, FailureKind, NextAttempt, OutcomeWord, Scope, Stage, Target};

use super::scene::{SOON, Scene};
use super::steps::{HELD, shortly};

/// Each of these is a build, and what a worker might have taken it for.
const POSING: [(&str, &str); 11] = [
    ("a host that refuses", "echo 'Error: connect ECONNREFUSED 10.1.2.3:443'; exit 1"),
    (
        "a registry that is down",
        "echo 'npm error 503 Service Unavailable - GET https://registry.example/a'; exit 1",
    ),
    ("a registry that limits", "echo 'npm error 429 Too Many Requests'; exit 1"),
    (
        "a machine too small",
        "echo 'FATAL ERROR: Reached heap limit - JavaScript heap out of memory'; exit 134",
    ),
    (
        "an outage: a pipe for the manifest",
        "mkdir -p /workspace/.harvest && mkfifo /workspace/.harvest/manifest.json",
    ),
    (
        "a refused key: a folder nobody may enter",
        "mkdir -p /workspace/.harvest && chmod 000 /workspace/.harvest",
    ),
    ("a restart: no supervisor", "kill -9 $(cat /tmp/harvest-run/*/supervisor); sleep 60"),
    ("a program that is killed", "kill -9 $PPID; sleep 60"),
    ("a machine in trouble: output without end", "yes 'FATAL ERROR: 503' | head -c 100000000; exit 1"),
    ("a restart: no runs", "rm -rf /tmp/harvest-run; sleep 60"),
    ("a lost machine: no process", "kill -9 -1; sleep 60"),
];

fn assert_costs(what: &str, ends: &[AttemptEnd]) {
    assert!(ends.len() <= 3, "{what}: {}", shortly(ends));
    for end in ends {
        let Some(failure) = &end.failure else { continue };
        assert_eq!(failure.scope, Scope::Target, "{what}: {failure:?}");
        assert_ne!(end.next, Some(NextAttempt::Free), "{what}: {failure:?}");
        assert!(!matches!(failure.blame(), Blame::Configuration | Blame::Capacity), "{what}: {failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_build_says_or_breaks_is_neither_free_nor_shared() {
    let scene = Scene::with(|plan| plan.worker_lines = "[daytona]\nrequest_timeout = \"10s\"\n".into()).await;
    let _workers = [scene.fleet.worker().await.unwrap(), scene.fleet.worker().await.unwrap()];
    let mut jobs = Vec::new();
    for (number, (_, build)) in POSING.iter().enumerate() {
        let (target, _) = scene.small(&format!("acme/posing-{number}")).await;
        let mut job = scene.job_building(&target, build);
        job.settings.timeouts.build = SOON;
        scene.publish(&job).await;
        jobs.push(job);
    }
    for ((what, _), job) in POSING.iter().zip(&jobs) {
        scene.last_end(job).await;
        let ends = scene.ends_of(job.id);
        assert_costs(what, &ends);
    }
    scene.nothing_leaks().await;
}

/// A sandbox of the fleet that another worker holds, as far as anybody can tell.
async fn neighbour(scene: &Scene) {
    let target: Target = "acme/neighbour@main".parse().unwrap();
    let labels = [
        ("harvest.fleet", scene.fleet_name().to_string()),
        ("harvest.attempt", AttemptId::new().to_string()),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
    let wish =
        NewSandbox { labels, ..NewSandbox::new(scene.sandbox_name(&target).as_str(), "harvest-snapshot") };
    let created = scene.daytona.create_sandbox(&wish).await.unwrap();
    assert!(matches!(created, CreateOutcome::Created(_)), "{created:?}");
}

/// Has the job's sandbox die in mid-build as often as `times`.
async fn lose_sandboxes(scene: &Scene, job: &job::Job, times: usize) -> Vec<AttemptEnd> {
    let mut sandbox = scene.until_held(&job.target).await;
    for lost in 1..=times {
        scene.daytona.delete_sandbox(&sandbox.id).await.unwrap();
        let end = scene.ends(job.id, lost).await.pop().unwrap();
        let failure = end.failure.as_ref().unwrap();
        assert_eq!(failure.stage, Stage::Build, "{failure:?}");
        if !end.is_last() {
            sandbox = scene.until_held_anew(&job.target, &sandbox.id).await;
        }
    }
    let ends = scene.ends_of(job.id);
    if ends.last().is_some_and(|end| !end.is_last()) {
        scene.let_go(&sandbox).await;
    }
    ends
}

fn told(ends: &[AttemptEnd]) -> Vec<(u32, FailureKind, &str, Option<NextAttempt>)> {
    let one = |end: &AttemptEnd| end.failure.as_ref().map(|failure| failure.id);
    ends.iter().map(|end| (end.number, one(end).unwrap(), end.decision.as_str(), end.next)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sandbox_lost_while_others_live_is_the_repositorys() {
    // Nobody beats for the neighbour, and no keeper is there that would sweep it meanwhile.
    let scene = Scene::start().await;
    neighbour(&scene).await;
    let (target, _) = scene.small("acme/halting").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let ends = lose_sandboxes(&scene, &job, 2).await;
    let first = (1, FailureKind::SandboxLost, "retry", Some(NextAttempt::Free));
    let second = (1, FailureKind::SandboxLostAgain, "dead_letter", None);
    assert_eq!(told(&ends), [first, second]);
    let letters = scene.dead_letters(1).await;
    let message = &letters[0].record.as_ref().unwrap().failure.as_ref().unwrap().message;
    assert!(message.contains("lost again"), "{message}");
    let again = scene.job_building(&target, HELD);
    scene.publish(&again).await;
    assert_eq!(scene.last_end(&again).await.outcome, OutcomeWord::StillFailing);
    let next = scene.bring_up_to_date(&target).await;
    assert_eq!(next.outcome, OutcomeWord::Built, "another recipe is another story: {next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_lost_with_nobody_to_compare_are_counted_but_one() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/alone").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let job = scene.job_building(&target, HELD);
    scene.publish(&job).await;
    let ends = lose_sandboxes(&scene, &job, 2).await;
    let lost = FailureKind::SandboxLost;
    let (free, counted) = (Some(NextAttempt::Free), Some(NextAttempt::Counted));
    assert_eq!(told(&ends), [(1, lost, "retry", free), (1, lost, "retry", counted)]);
    let end = scene.last_end(&job).await;
    assert_eq!((end.outcome, end.number), (OutcomeWord::Built, 2), "{end:?}");
    assert_eq!(scene.state(&target).await.lost_sandbox, None, "a good build forgets it");
    scene.queues_are_empty().await;
    scene.nothing_leaks().await;
}
