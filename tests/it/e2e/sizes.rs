//! What a prebuild weighs: each stage says what it added, leftovers are not captured, and one that has grown far is flagged.

use fleet_tests::eventually;
use job::{LedgerEvent, OutcomeWord, Stage};

use super::scene::{SOON, Scene};

const MB: i64 = 1_000_000;

/// Writes so much into the checkout, and as much into npm's cache.
fn writes(megabytes: u32) -> String {
    format!(
        "mkdir -p ~/.npm/_cacache && head -c {megabytes}M /dev/zero >built && head -c {megabytes}M /dev/zero >~/.npm/_cacache/left"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_prebuild_is_warmed_on_several_runners() {
    let scene = Scene::with(|plan| {
        plan.sandboxd_flags.extend([
            "--runners".into(),
            "3".into(),
            "--pull-per-megabyte".into(),
            "20".into(),
        ]);
        plan.keeper_lines = "warm_runners = 3\n".into();
    })
    .await;
    let (target, _) = scene.small("acme/warm").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let keeper = scene.fleet.keeper().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&target).await.outcome, OutcomeWord::Built);
    eventually(SOON, "it was started on three runners", async || {
        let log = keeper.stderr();
        let is_warm =
            |line: &str| line.contains("a new prebuild was warmed") && line.contains("\"runners\":3");
        if log.lines().any(is_warm) { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(scene.sandboxes_created().await, 5, "to build, to verify, to warm");
    scene.nothing_leaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_say_what_they_added_and_growth_is_flagged() {
    let scene = Scene::start().await;
    let (target, _) = scene.small("acme/weighty").await;
    let _worker = scene.fleet.worker().await.unwrap();
    let mut added = Vec::new();
    for megabytes in [10, 250] {
        let job = scene.job_building(&target, &writes(megabytes));
        scene.publish(&job).await;
        assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Built);
        let of = |wanted: Stage| {
            let told = scene.told();
            let reports = told.iter().filter_map(|entry| match &entry.event {
                LedgerEvent::StageEnded { job: of, report, .. } if *of == job.id => Some(report.clone()),
                _ => None,
            });
            let report = reports.into_iter().find(|report| report.stage == wanted);
            report
                .and_then(|report| report.added_bytes)
                .unwrap_or_else(|| panic!("{wanted}: {}", scene.story()))
        };
        let written = i64::from(megabytes) * (1 << 20);
        assert!((2 * written..2 * written + MB).contains(&of(Stage::Build)), "{}", of(Stage::Build));
        assert!((-written - MB..=-written + MB).contains(&of(Stage::Scrub)), "{}", of(Stage::Scrub));
        let prebuild = scene.promoted(&target).await;
        let total = prebuild.added_bytes.unwrap();
        assert!((written..written + 5 * MB).contains(&total), "the cache is not in it: {total}");
        added.push((total, prebuild.flags));
    }
    assert!(added[0].1.is_empty(), "{added:?}");
    assert_eq!(added[1].1, ["size.grown"]);
    let explained = scene.fleet.ask(&["explain", &target.to_string()], SOON).await.unwrap();
    assert!(explained.stdout.contains("MB more than its base"), "{explained:?}");
    assert!(explained.stdout.contains("size.grown"), "{explained:?}");
    scene.nothing_leaks().await;
}
