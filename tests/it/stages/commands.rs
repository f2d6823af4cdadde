//! Long commands: detached, watched, found again, bounded, ended with everything they started.

use std::time::{Duration, Instant};

use fleet_tests::eventually;
use job::Stage;
use worker::sandbox::{Environment, Exit, LongCommand};

use super::bench::Bench;

fn long(script: &str, deadline: Duration) -> LongCommand {
    LongCommand {
        stage: Stage::Build,
        label: "test",
        script: script.to_owned(),
        cwd: "/workspace".to_owned(),
        environment: Environment::new(),
        deadline,
    }
}

#[tokio::test]
async fn exit_codes_output_and_standard_input_are_as_in_a_script() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    // Reads its standard input, which would swallow the rest of a script fed that way, and leaves the shell by `exit`.
    let script = "echo out; echo err >&2; cat; pwd; printf 'quo\"te %s\\n' \"it's\"; exit 7";
    let end = sandbox.run(&long(script, Duration::from_mins(1))).await.unwrap();
    assert_eq!(end.exit, Exit::Code(7), "{end:?}");
    assert_eq!(end.tail.as_str(), "out\nerr\n/workspace\nquo\"te it's\n");
    assert!(end.free_bytes.is_some(), "{end:?}");
    let none = LongCommand { cwd: "/nowhere".to_owned(), ..long("true", Duration::from_mins(1)) };
    let end = sandbox.run(&none).await.unwrap();
    assert_eq!((end.exit, end.tail.as_str()), (Exit::Code(96), "there is no folder /nowhere\n"));
    bench.end().await;
}

#[tokio::test]
async fn a_command_outlives_whoever_watches_it_and_is_found_again() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    let command = long(
        "echo started >> /workspace/runs; while [ ! -e /workspace/go ]; do sleep 0.05; done; echo went",
        Duration::from_mins(1),
    );
    let watched = tokio::time::timeout(Duration::from_millis(500), sandbox.run(&command)).await;
    assert!(watched.is_err(), "it waits to be told: {watched:?}");
    bench.prints("touch /workspace/go").await;
    // Another worker, the same attempt.
    let end = bench.sandbox().run(&command).await.unwrap();
    assert_eq!((end.exit, end.tail.as_str()), (Exit::Code(0), "went\n"));
    assert_eq!(bench.prints("cat /workspace/runs").await, "started", "it was started once");
    bench.end().await;
}

#[tokio::test]
async fn a_deadline_ends_the_whole_family_even_what_left_the_group() {
    let bench = Bench::start().await;
    let script = "sleep 987654 & setsid sleep 987655 & (trap '' TERM; sleep 987656) & sleep 987657";
    let began = Instant::now();
    let end = bench.sandbox().run(&long(script, Duration::from_secs(1))).await.unwrap();
    assert_eq!(end.exit, Exit::DeadlinePassed, "{end:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(
        bench.prints("pgrep -f '[s]leep 9876' | wc -l").await,
        "0",
        "{}",
        bench.prints("ps -ef").await
    );
    bench.end().await;
}

#[tokio::test]
async fn what_a_command_leaves_running_neither_delays_nor_survives_it() {
    let bench = Bench::start().await;
    let began = Instant::now();
    let script = "(while :; do echo noise; sleep 0.01; done) & setsid sleep 987658 & echo done";
    let end = bench.sandbox().run(&long(script, Duration::from_mins(1))).await.unwrap();
    assert_eq!(end.exit, Exit::Code(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(bench.prints("pgrep -f '[s]leep 9876' | wc -l").await, "0");
    bench.end().await;
}

#[tokio::test]
async fn every_command_can_be_ended_from_outside() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    let running = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.run(&long("touch /workspace/on; sleep 987659", Duration::from_mins(5))).await }
    });
    eventually(Duration::from_secs(20), "the command runs", async || {
        let on = bench.prints("ls /workspace").await;
        if on.contains("on") { Ok(()) } else { Err(on) }
    })
    .await;
    sandbox.end_all(Stage::Build).await.unwrap();
    let end = running.await.unwrap().unwrap();
    assert!(matches!(end.exit, Exit::Code(code) if code != 0), "{end:?}");
    assert_eq!(bench.prints("pgrep -f '[s]leep 9876' | wc -l").await, "0");
    bench.end().await;
}

#[tokio::test]
async fn output_without_end_is_bounded_and_its_end_is_kept() {
    let bench = Bench::start().await;
    let script = "head -c 30000000 /dev/zero | tr '\\0' 'x' | fold -w 200; echo; echo the very end";
    let end = bench.sandbox().run(&long(script, Duration::from_mins(1))).await.unwrap();
    assert_eq!(end.exit, Exit::Code(0));
    assert!(end.tail.as_str().ends_with("the very end\n"), "{}", end.tail.last_bytes(100).as_str());
    assert!(end.tail.as_str().lines().count() <= job::Tail::MAX_LINES);
    assert!(end.output_bytes > 30_000_000, "{}", end.output_bytes);
    let kept: u64 = bench.prints("du -sb /tmp/harvest-run | cut -f1").await.parse().unwrap();
    assert!(kept < 9_000_000, "{kept} bytes of output are kept");
    bench.end().await;
}

#[tokio::test]
async fn a_heap_that_is_full_is_no_failure_of_the_repository() {
    let bench = Bench::start().await;
    let script = "node --max-old-space-size=20 -e 'const a=[];for(;;)a.push(new Array(1000).fill(1.5))'";
    let recipe = super::node::recipe_building(script);
    let deadline = Duration::from_mins(1);
    let failure =
        worker::stages::build::run(&bench.sandbox(), "/workspace", &recipe, &Environment::new(), deadline)
            .await
            .unwrap_err();
    assert_eq!(failure.id, job::FailureKind::OutOfMemory, "{failure}");
    bench.end().await;
}
