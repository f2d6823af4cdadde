//! The fleet that other languages' tests are handed: it must say the truth, show what it was told to, and leave nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use daytona::{Client, CreateOutcome, Execute, NewSandbox, SandboxState, pace};
use fleet_tests::{eventually, leaks};

const SOON: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_prebuilt_fleet_says_where_all_is_until_its_stdin_closes() {
    let shown = tempfile::tempdir().unwrap();
    std::fs::write(shown.path().join("rules.md"), "be kind").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_prebuilt-fleet"))
        .args(["--expose-read-only", &format!("{}:/app", shown.path().display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: BTreeMap<String, String> = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
    let family = leaks::descendants(rustix::process::Pid::from_child(&program));

    let settings = crate::sections::daytona(&told["apiUrl"], &told["apiKey"]);
    let client = Client::new(settings).unwrap();
    let snapshot = client.get_snapshot(&told["snapshotId"]).await.unwrap().unwrap();
    assert_eq!(snapshot.name, told["snapshot"]);
    let CreateOutcome::Created(sandbox) =
        client.create_sandbox(&NewSandbox::new("session", &told["snapshot"])).await.unwrap()
    else {
        panic!("no sandbox")
    };
    let deadline = tokio::time::Instant::now() + SOON;
    let sandbox = client.wait_until_started(&sandbox.id, deadline, pace::COLD_START).await.unwrap();
    assert_eq!(sandbox.state, SandboxState::Started);
    let look = format!(
        "cat /app/rules.md; git -C {0} remote get-url origin; git -C {0} branch --show-current; ls {0}/dist",
        told["path"]
    );
    let toolbox = client.toolbox(&sandbox).await.unwrap();
    let executed = toolbox.execute(&Execute::new(look, SOON)).await.unwrap();
    let wanted = format!("be kind{}\n{}\nserver.js\n", told["remote"], told["branch"]);
    assert_eq!(executed.result, wanted);
    let bare = std::fs::read_to_string(format!("{}/config", told["gitDirectory"])).unwrap();
    assert!(bare.contains("bare = true"), "{bare}");

    drop(program.stdin.take());
    assert_eq!(program.wait().unwrap().code(), Some(0));
    eventually(SOON, "everything has ended and is removed", async || {
        let pids = family.iter().filter_map(|process| rustix::process::Pid::from_raw(process.pid));
        let running: Vec<_> = pids.filter(|&pid| leaks::is_running(pid)).collect();
        let kept = std::fs::exists(&told["gitDirectory"]).unwrap();
        if running.is_empty() && !kept { Ok(()) } else { Err(format!("running {running:?}, kept: {kept}")) }
    })
    .await;
}
