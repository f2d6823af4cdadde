//! What a command does to its own run, to the shells and to the programs around it: it gains nothing, and nobody waits for it.

use std::time::Duration;

use job::{FailureKind, Scope, Stage};
use worker::sandbox::{Environment, Exit, LongCommand, SHORT, Sandbox};

use super::bench::Bench;

fn long(label: &'static str, script: &str) -> LongCommand {
    LongCommand {
        stage: Stage::Build,
        label,
        script: script.to_owned(),
        cwd: "/workspace".to_owned(),
        environment: Environment::new(),
        deadline: Duration::from_mins(1),
    }
}

/// How a command ends that does this to the folder of its own run, as `$run`.
async fn end_of(sandbox: &Sandbox, label: &'static str, what: &str) -> Result<Exit, FailureKind> {
    let script = format!("run=/tmp/harvest-run/$HARVEST_RUN\n{what}");
    match sandbox.run(&long(label, &script)).await {
        Ok(end) => Ok(end.exit),
        Err(failure) => {
            assert_eq!(failure.scope, Scope::Target, "{failure:?}");
            Err(failure.id)
        }
    }
}

#[tokio::test]
async fn a_run_that_is_written_to_ends_as_a_command_may_end() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    // Each leaves its supervisor stopped, so that what it wrote is what is read.
    let stop = "kill -STOP \"$(cat $run/supervisor)\"; sleep 987660 & disown; exit 0";
    for (label, what, expected) in [
        ("elapsed", "echo '0 18446744073709551615' >$run/exit", Ok(Exit::Code(0))),
        ("both", "echo '124 99999999999999999999999999' >$run/exit", Ok(Exit::Code(124))),
        ("code", "echo 'x y' >$run/exit", Err(FailureKind::SandboxUnusable)),
        ("kills", "echo 99999999999999999999 >$run/kills_after; echo '7 1' >$run/exit", Ok(Exit::Code(7))),
        (
            "arithmetic",
            "echo 'a[$(touch /workspace/ran)]' >$run/started; echo '3 1' >$run/exit",
            Ok(Exit::Code(3)),
        ),
        ("link", "ln -sf /proc/self/environ $run/output; echo '4 1' >$run/exit", Ok(Exit::Code(4))),
        ("holes", "truncate -s 8T $run/earlier; echo '5 1' >$run/exit", Ok(Exit::Code(5))),
        (
            "pipes",
            "rm $run/output; mkfifo $run/output $run/earlier $run/turns; echo '6 1' >$run/exit",
            Ok(Exit::Code(6)),
        ),
    ] {
        // Moved into place whole, so that no look meets it half written.
        let what = what.replace(">$run/exit", ">$run/written; mv $run/written $run/exit");
        let script = format!("{what}; {stop}");
        let ended = end_of(&sandbox, label, &script);
        let ended =
            tokio::time::timeout(Duration::from_mins(2), ended).await.expect("nothing holds a look up");
        assert_eq!(ended, expected, "{label}");
    }
    assert_eq!(bench.prints("ls /workspace").await, "", "what it wrote is no script");
    bench.end().await;
}

#[tokio::test]
async fn a_command_that_ends_its_supervisor_ends_its_attempt() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    let kill = "kill -KILL \"$(cat $run/supervisor)\"; sleep 1";
    assert_eq!(end_of(&sandbox, "kills", kill).await, Err(FailureKind::SandboxUnusable));
    assert_eq!(end_of(&sandbox, "removes", "rm -rf $run; sleep 5").await, Err(FailureKind::SandboxUnusable));
    bench.end().await;
}

#[tokio::test]
async fn what_stands_in_the_way_of_the_next_run_is_removed() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    for (label, next, what) in [
        ("file", "after-file", "rm -rf /tmp/harvest-run; touch /tmp/harvest-run"),
        ("link", "after-link", "rm -rf /tmp/harvest-run; ln -s /usr /tmp/harvest-run"),
        (
            "closed",
            "after-closed",
            "mkdir -p /tmp/harvest-run/x/y; chmod 0 /tmp/harvest-run/x /tmp/harvest-run",
        ),
    ] {
        sandbox.run(&long(label, what)).await.ok();
        let end = sandbox.run(&long(next, "exit 9")).await.unwrap();
        assert_eq!(end.exit, Exit::Code(9), "{label}: {end:?}");
    }
    bench.end().await;
}

#[tokio::test]
async fn steps_run_no_program_and_read_no_file_of_the_home() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox();
    let planted = r#"
        mkdir -p ~/.harvest/bin ~/.local/bin
        for name in bash sh env setsid grep cat sed stat df date tail head timeout rm mkdir git cp find dirname sha256sum; do
            printf '#!/bin/bash\necho "$0" >>/workspace/ran\n' >~/.harvest/bin/$name
            chmod +x ~/.harvest/bin/$name
        done
        for name in .bashrc .profile .bash_profile .zshenv .zshrc; do echo 'echo read >>/workspace/ran' >>~/$name; done
    "#;
    sandbox.run(&long("plants", planted)).await.unwrap();
    let environment =
        Environment::new().with("BASH_ENV", "/home/harvest/.bashrc").with("ENV", "/home/harvest/.bashrc");
    let said = sandbox
        .short(
            Stage::Scrub,
            "cat /etc/hostname /dev/null | grep -c . ; date >/dev/null; echo $PATH",
            &environment,
            SHORT,
        )
        .await
        .unwrap();
    assert!(said.result.ends_with("/sbin:/bin\n"), "{said:?}");
    // A builtin is all that its script needs, so whatever is written to `ran` was run around it.
    let end = sandbox.run(&long("after", "exit 9")).await.unwrap();
    assert_eq!(end.exit, Exit::Code(9));
    sandbox.upload(Stage::Scrub, "/workspace/up/loaded", b"x".to_vec()).await.unwrap();
    assert_eq!(bench.prints("ls /workspace").await, "up");
    bench.end().await;
}
