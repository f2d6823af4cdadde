//! One sandbox's isolation: a bubblewrap container whose pid 1 is an idle bash, entered by nsenter for every command.
//! No program of ours runs inside. pid 1 waits for the end of its stdin, a pipe only the server holds, so that a
//! server that is killed takes every sandbox with it (a parent-death signal would follow a thread, not the server).
//! The namespaces are pinned by open descriptors, so a reused process id can never be entered by mistake.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

const START_DEADLINE: Duration = Duration::from_secs(20);
const END_DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const HOME: &str = "/home/harvest";
/// The shell that commands are piped to; by its path, as Daytona's daemon takes it from /etc/shells.
pub(crate) const SHELL: &str = "/bin/bash";

#[derive(Debug, thiserror::Error)]
pub(crate) enum JailError {
    #[error("bwrap could not be started")]
    Spawn(#[source] std::io::Error),
    #[error("the sandbox's first process ended at once: {0}")]
    EndedAtOnce(BwrapComplaint),
    #[error("the sandbox's first process was not ready in time")]
    NotReady,
    #[error("the sandbox's namespaces could not be opened")]
    Namespaces(#[source] std::io::Error),
    #[error("the sandbox's processes did not end in time")]
    WouldNotEnd,
}

/// What bwrap wrote before it gave up.
#[derive(Debug)]
pub(crate) struct BwrapComplaint(String);

impl std::fmt::Display for BwrapComplaint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.trim())
    }
}

struct Init {
    bwrap: Child,
    _alive: ChildStdin,
}

pub(crate) struct Jail {
    init: Mutex<Option<Init>>,
    pidfd: OwnedFd,
    root: File,
    user: File,
    mount: File,
    pid: File,
    ipc: File,
}

impl Jail {
    /// Starts the container described by bwrap's `arguments` and waits until its mounts are in place.
    pub(crate) async fn start(arguments: &[OsString]) -> Result<Self, JailError> {
        let mut bwrap = Command::new("bwrap")
            .args(arguments)
            .args(["--", "/bin/bash", "--norc", "--noprofile", "-c", "echo ready; read -r _"])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(JailError::Spawn)?;
        let (Some(alive), Some(stdout), Some(stderr), Some(monitor)) =
            (bwrap.stdin.take(), bwrap.stdout.take(), bwrap.stderr.take(), bwrap.id())
        else {
            return Err(JailError::NotReady);
        };
        let mut line = String::new();
        let read = tokio::time::timeout(START_DEADLINE, BufReader::new(stdout).read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(_))) {
            return Err(JailError::NotReady);
        }
        if line.trim() != "ready" {
            let mut complaint = String::new();
            let mut stderr = stderr.take(4096);
            let reading = stderr.read_to_string(&mut complaint);
            return match tokio::time::timeout(START_DEADLINE, reading).await {
                Ok(_) => Err(JailError::EndedAtOnce(BwrapComplaint(complaint))),
                Err(_) => Err(JailError::NotReady),
            };
        }
        let first = children(monitor).into_iter().next().ok_or(JailError::NotReady)?;
        Self::pin(first, Init { bwrap, _alive: alive }).map_err(JailError::Namespaces)
    }

    fn pin(first: u32, init: Init) -> std::io::Result<Self> {
        let pid = to_pid(first).ok_or(std::io::ErrorKind::NotFound)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let namespace = |name: &str| File::open(format!("/proc/{first}/ns/{name}"));
        Ok(Self {
            init: Mutex::new(Some(init)),
            pidfd,
            root: File::open(format!("/proc/{first}/root"))?,
            user: namespace("user")?,
            mount: namespace("mnt")?,
            pid: namespace("pid")?,
            ipc: namespace("ipc")?,
        })
    }

    /// A command that will run inside as the sandbox's user, leader of its own session, with exactly `environment`. All that
    /// runs before it is named by its path: what the user put on PATH is for the user's own commands.
    pub(crate) fn command(
        &self,
        directory: &str,
        environment: &BTreeMap<String, String>,
        program: &[&str],
    ) -> Command {
        let own = std::process::id();
        let path = |file: &File| format!("/proc/{own}/fd/{}", file.as_raw_fd());
        let mut command = Command::new("/usr/bin/nsenter");
        command
            .arg(format!("--user={}", path(&self.user)))
            .arg(format!("--mount={}", path(&self.mount)))
            .arg(format!("--pid={}", path(&self.pid)))
            .arg(format!("--ipc={}", path(&self.ipc)))
            .args(["--preserve-credentials", "--", "/usr/bin/setsid", "/usr/bin/env", "-C", directory])
            .args(program)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Whether `directory` can be entered, resolved as a process inside would resolve it.
    pub(crate) fn enterable(&self, directory: &str) -> Result<(), std::io::Error> {
        let relative = directory.trim_start_matches('/');
        let relative = if relative.is_empty() { Path::new(".") } else { Path::new(relative) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(self.root.as_fd(), relative, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        Ok(())
    }

    /// Kills everything inside and waits until nothing is left.
    pub(crate) async fn kill(&self) -> Result<(), JailError> {
        let mut slot = self.init.lock().await;
        let Some(mut init) = slot.take() else { return Ok(()) };
        // Already dead is as good as killed.
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
        // bwrap leaves when pid 1 is gone, and the kernel lets pid 1 go only after every other process inside.
        match tokio::time::timeout(END_DEADLINE, init.bwrap.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(JailError::WouldNotEnd),
        }
    }
}

/// Kills the session led by the process that `nsenter` (a host process id) started inside.
pub(crate) fn kill_session(nsenter: u32, signal: Signal) {
    for child in children(nsenter) {
        if let Some(pid) = to_pid(child) {
            // Ended in the meantime: nothing to do.
            rustix::process::kill_process_group(pid, signal).ok();
        }
    }
}

fn to_pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(raw).ok()?)
}

fn children(process: u32) -> Vec<u32> {
    let list =
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
