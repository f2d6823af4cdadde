//! Children and directories that cannot outlive the test process, whether it ends normally, by a panic or by `kill -9`.
//!
//! Children get `PR_SET_PDEATHSIG` (through `setpriv`). The kernel sends that signal when the *thread* that forked ends,
//! and test threads end early, so every child is forked by one thread that lives as long as the process.
//! Directories are removed by a warden, a shell whose standard input is a pipe that only this process holds open.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

use crate::eventually::{NeverHappened, within};

/// Reads directories until the pipe closes, then removes them; a few tries, because killed writers may still be
/// falling, and because a tree may hold directories that were made read-only.
const WARDEN: &str = r#"
while IFS= read -r directory; do set -- "$@" "$directory"; done
for directory in "$@"; do
  # A sandboxd that was killed leaves the views of its sandboxes mounted.
  awk -v under="$directory/" 'index($2, under) == 1 { print $2 }' /proc/self/mounts | sort -r |
    while IFS= read -r point; do umount -l -- "$point"; done
  tries=0
  until rm -rf -- "$directory" 2>/dev/null || [ "$tries" -ge 50 ]; do
    tries=$((tries + 1)); chmod -R u+rwX -- "$directory" 2>/dev/null; sleep 0.1
  done
done
"#;

/// A child process that dies with this process, and with this value.
#[derive(Debug)]
pub struct GuardedChild {
    child: Child,
}

/// Starts building a command whose process will get `SIGKILL` when this process ends.
///
/// The pid of the child is that of `program` itself: `setpriv` replaces itself by it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    command
}

impl GuardedChild {
    /// Forks `command` (made by [`command()`]) from the thread that outlives every test.
    pub fn spawn(command: Command) -> io::Result<Self> {
        Ok(Self { child: spawn_from_lasting_thread(command)? })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The child itself, for its pipes.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends `signal`; to a child that has ended already this is no error.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // An unreaped child keeps its pid, so this cannot hit a stranger.
        match self.exit_status()? {
            Some(_ended) => Ok(()),
            None => Ok(kill_process(self.pid(), signal)?),
        }
    }

    /// The exit status, once there is one.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until the child has ended by itself.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus, NeverHappened> {
        let pid = self.pid().as_raw_nonzero();
        within(deadline, &format!("process {pid} ends"), async || match self.exit_status() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(String::from("still running")),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// `SIGKILL`, and waits for the end, which the kernel owes at once.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for GuardedChild {
    fn drop(&mut self) {
        // Best effort: it may have ended, and a destructor has nobody to tell.
        drop(self.kill());
    }
}

/// Has this process killed, and with it what it started, once `other` has ended, however that ends.
pub fn end_with(other: Pid) -> io::Result<()> {
    let other = pidfd_open(other, PidfdFlags::empty())?;
    std::thread::spawn(move || {
        let mut ended = [PollFd::new(&other, PollFlags::IN)];
        while poll(&mut ended, None).is_err_and(|error| error == rustix::io::Errno::INTR) {}
        // It cannot fail: this process is there, and may signal itself.
        kill_process(getpid(), Signal::KILL).ok();
    });
    Ok(())
}

/// Has `directory` and all in it removed after this process has ended. Removing it earlier is fine.
pub fn remove_at_exit(directory: &Path) -> io::Result<()> {
    static WARDEN_INPUT: Mutex<Option<ChildStdin>> = Mutex::new(None);
    let mut warden = WARDEN_INPUT.lock().unwrap_or_else(PoisonError::into_inner);
    if warden.is_none() {
        *warden = Some(start_warden()?);
    }
    let input = warden.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    writeln!(input, "{}", directory.display())
}

/// A fresh directory, removed when dropped and at the latest after the end of this process.
pub fn temporary_directory(prefix: &str) -> io::Result<tempfile::TempDir> {
    temporary_directory_in(&std::env::temp_dir(), prefix)
}

/// [`temporary_directory`], under a parent of the caller's choice.
pub fn temporary_directory_in(parent: &Path, prefix: &str) -> io::Result<tempfile::TempDir> {
    let directory = tempfile::Builder::new().prefix(&format!("harvest-{prefix}-")).tempdir_in(parent)?;
    remove_at_exit(directory.path())?;
    Ok(directory)
}

/// Where something lives: for this run only, or kept for the next.
#[derive(Debug)]
pub enum Home {
    /// Removed with its owner.
    Temporary(tempfile::TempDir),
    /// Somebody else's to remove.
    Kept(std::path::PathBuf),
}

impl Home {
    /// The directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(directory) => directory,
        }
    }
}

fn start_warden() -> io::Result<ChildStdin> {
    let mut warden = Command::new("sh");
    warden.args(["-c", WARDEN]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its own process group: an interrupt from the terminal must reach the test process, not the one that tidies up.
    warden.process_group(0).current_dir("/");
    warden.spawn()?.stdin.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

struct SpawnRequest {
    command: Command,
    answer: mpsc::SyncSender<io::Result<Child>>,
}

fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<SpawnRequest>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<SpawnRequest>();
        std::thread::spawn(move || {
            for SpawnRequest { mut command, answer } in inbox {
                // The asker waits below; if it is gone, dropping the answer is all that is left.
                drop(answer.send(command.spawn()));
            }
        });
        requests
    });
    let (answer, receive) = mpsc::sync_channel(1);
    spawner.send(SpawnRequest { command, answer }).map_err(|_| io::ErrorKind::BrokenPipe)?;
    receive.recv().map_err(|_| io::ErrorKind::BrokenPipe)?
}
