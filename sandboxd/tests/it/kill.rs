//! The real program, killed: no process may stay, and the next start cleans up and still has the snapshots.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, KEY};

struct Program {
    process: Child,
    client: Client,
}

impl Program {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sandboxd"))
            .arg("--data-dir")
            .arg(data)
            .env("SANDBOXD_API_KEYS", KEY)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("sandboxd listening on ").unwrap();
        let client = Client::new(url.strip_suffix("/api").unwrap().to_owned());
        Self { process, client }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn running(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(argument))
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        // /proc cannot be waited on, so it is looked at again.
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_killed_server_leaves_no_process_and_the_next_start_cleans() {
    let data = tempfile::tempdir().unwrap();
    let marker = format!("6{:05}.25", std::process::id());
    let mut program = Program::start(data.path());
    let id = program.client.sandbox(&json!({ "name": "one" })).await;
    program.client.execute(&id, "echo kept > /workspace/file").await;
    program.client.snapshot(&id, "kept").await;
    program.client.execute(&id, &format!("setsid sleep {marker} >/dev/null 2>&1 </dev/null &")).await;
    // The command's answer does not wait for what it put into the background, which may be between two programs.
    wait_until("the sandbox's process runs", || running(&marker));
    program.process.kill().unwrap();
    program.process.wait().unwrap();
    let sandboxes = data.path().display().to_string();
    wait_until("no process of a sandbox outlives its server", || !running(&marker) && !running(&sandboxes));

    let next = Program::start(data.path());
    assert_eq!(next.client.get("/api/sandbox/one").await.0, 404);
    let directories: Vec<_> = std::fs::read_dir(data.path().join("sandboxes")).unwrap().collect();
    assert!(directories.is_empty(), "{directories:?}");
    let again = next.client.sandbox(&json!({ "snapshot": "kept" })).await;
    assert_eq!(next.client.execute(&again, "cat /workspace/file").await.1, "kept\n");
    let (_, shown) = next.client.execute(&again, "tr '\\0' '\\n' < /proc/1/environ; env").await;
    assert!(!shown.contains(KEY), "{shown}");

    let pid = rustix::process::Pid::from_child(&next.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut next = next;
    assert!(next.process.wait().unwrap().success());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&data.path().display().to_string()), "{mounts}");
}
