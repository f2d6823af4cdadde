//! Secrets reach a command and nothing else: no log, no file, no process list, no prebuild.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use job::{FailureKind, Stage};
use secrecy::SecretString;
use worker::sandbox::{Environment, Exit, LongCommand};
use worker::stages::scrub::{self, Leave, LeftoverSection};

use super::bench::{Bench, PATH, variables};

const SECRET: &str = "s3cr3t/value+that&nobody knows";

fn given() -> [SecretString; 1] {
    [SecretString::from(SECRET)]
}

fn shown(script: &str) -> LongCommand {
    LongCommand {
        stage: Stage::Install,
        label: "secret",
        script: script.to_owned(),
        cwd: "/workspace".to_owned(),
        environment: Environment::of(
            variables(&[("PLAIN", "seen")]),
            [("TOKEN".to_owned(), SecretString::from(SECRET))].into(),
        ),
        deadline: Duration::from_mins(1),
    }
}

#[tokio::test]
async fn a_secret_reaches_its_command_but_no_output_argument_or_file() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox_knowing(&[SECRET]);
    // `-s`: a process that has ended since it was listed is no find.
    let script = "echo \"$PLAIN ${#TOKEN} $TOKEN\"; printf %s \"user:$TOKEN\" | base64 -w0; echo; env | grep -c ^HARVEST_; \
                  ps -eo args > /tmp/processes; grep -rsF \"$TOKEN\" /tmp /workspace \"$HOME\" /proc/[0-9]*/cmdline; true";
    let end = sandbox.run(&shown(script)).await.unwrap();
    assert_eq!(end.exit, Exit::Code(0), "{end:?}");
    let tail = end.tail.as_str();
    // The output is a file of the sandbox for a while, until scrub; it is the one place where a command can put its own secret.
    let elsewhere: Vec<&str> =
        tail.lines().filter(|line| line.contains("/tmp/") || line.contains("cmdline")).collect();
    assert!(elsewhere.iter().all(|line| line.contains("/tmp/harvest-run/")), "{tail}");
    assert!(tail.starts_with(&format!("seen {} [redacted]\n", SECRET.len())), "{tail}");
    assert!(
        !tail.contains("s3cr3t") && !tail.contains(&STANDARD.encode(format!("user:{SECRET}"))[8..]),
        "{tail}"
    );
    let processes = bench.prints("cat /tmp/processes").await;
    assert!(!processes.contains("s3cr3t"), "{processes}");
    bench.end().await;
}

#[tokio::test]
async fn a_planted_secret_is_found_in_every_form_and_its_file_named() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox_knowing(&[SECRET]);
    let baseline = bench.baseline().await;
    scrub::run(&sandbox, PATH, &baseline, LeftoverSection::all(Leave::Keep), &given()).await.unwrap();
    for (form, planted) in [
        ("plain", SECRET.to_owned()),
        ("base64", STANDARD.encode(format!("x-access-token:{SECRET}"))),
        ("url", "https://user:s3cr3t%2Fvalue%2Bthat%26nobody%20knows@host/".to_owned()),
    ] {
        let content = format!("before\n{planted}\nafter").into_bytes();
        sandbox.upload(Stage::Scrub, "/workspace/name/sub dir/.hidden", content).await.unwrap();
        let failure = scrub::run(&sandbox, PATH, &baseline, LeftoverSection::all(Leave::Keep), &given())
            .await
            .unwrap_err();
        assert_eq!(failure.id, FailureKind::ScrubSecretFound, "{form}: {failure:?}");
        assert!(failure.message.contains("/workspace/name/sub dir/.hidden"), "{form}: {failure}");
        assert!(!format!("{failure:?}").contains("s3cr3t"), "{form}: {failure:?}");
        bench.prints("rm -r '/workspace/name/sub dir'").await;
    }
    scrub::run(&sandbox, PATH, &baseline, LeftoverSection::all(Leave::Keep), &given()).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn what_an_attempt_leaves_is_removed() {
    let bench = Bench::start().await;
    let sandbox = bench.sandbox_knowing(&[SECRET]);
    let baseline = bench.baseline().await;
    sandbox.run(&shown("echo $TOKEN; mkdir -p ~/.npm/_logs; echo $TOKEN > ~/.npm/_logs/a; echo $TOKEN > ~/.git-credentials; \
                        echo \"//registry.example/:_authToken=$TOKEN\" > ~/.npmrc; echo fund=false >> ~/.npmrc; echo $TOKEN > ~/.bash_history"))
        .await
        .unwrap();
    scrub::run(&sandbox, PATH, &baseline, LeftoverSection::all(Leave::Keep), &given()).await.unwrap();
    assert_eq!(
        bench.prints("cat ~/.npmrc 2>/dev/null; ls -A /tmp | grep harvest; ls -A ~/.npm; true").await,
        ""
    );
    bench.end().await;
}

#[tokio::test]
async fn what_a_base_has_of_root_is_left_and_said() {
    // Only root can give a file away.
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        return;
    }
    let bench = Bench::with_foreign_files(&["npm-of-root", "plain-of-root"]).await;
    let sandbox = bench.sandbox_knowing(&[SECRET]);
    let baseline = bench.baseline().await;
    bench
        .prints(
            "mkdir -p /tmp/npm-own/closed && touch /tmp/npm-own/closed/a && chmod 000 /tmp/npm-own/closed",
        )
        .await;
    let left =
        scrub::run(&sandbox, PATH, &baseline, LeftoverSection::all(Leave::Drop), &given()).await.unwrap();
    assert_eq!(left, ["/tmp/npm-of-root"]);
    assert_eq!(
        bench.prints("ls /tmp | grep of-root; ls -d /tmp/npm-own 2>/dev/null; true").await,
        "npm-of-root\nplain-of-root"
    );
    bench.end().await;
}
