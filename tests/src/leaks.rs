//! What must not be there after a run: processes, files, and secrets in anything that was written.
//!
//! Each check answers a list of what it found, empty when all is well, so that a failing assertion shows everything.

mod secrets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

pub use secrets::{Disclosure, PlantedSecret, disclosures};

/// A process that should be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftProcess {
    pub pid: i32,
    pub parent: i32,
    pub command: String,
}

/// Every process that works in `directory` or names it in its arguments, detached ones too; this process excepted.
pub fn processes_touching(directory: &Path) -> Vec<LeftProcess> {
    let this = rustix::process::getpid().as_raw_nonzero().get();
    let named = directory.display().to_string();
    all_processes()
        .into_iter()
        .filter(|process| process.pid != this)
        .filter(|process| {
            let works_in = std::fs::read_link(format!("/proc/{}/cwd", process.pid));
            process.command.contains(&named) || works_in.is_ok_and(|path| path.starts_with(directory))
        })
        .collect()
}

/// Every process below `ancestor`, at any depth. Zombies do not count: they hold nothing but an exit status.
pub fn descendants(ancestor: Pid) -> Vec<LeftProcess> {
    let all = all_processes();
    let mut family = BTreeSet::from([ancestor.as_raw_nonzero().get()]);
    // Children may have lower pids than their parents, so until nothing more is found.
    loop {
        let children: Vec<i32> = all
            .iter()
            .filter(|process| family.contains(&process.parent) && !family.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if children.is_empty() {
            break;
        }
        family.extend(children);
    }
    family.remove(&ancestor.as_raw_nonzero().get());
    all.into_iter().filter(|process| family.contains(&process.pid)).collect()
}

/// Whether a process (no zombie) has this pid.
pub fn is_running(pid: Pid) -> bool {
    read_process(pid.as_raw_nonzero().get()).is_some()
}

/// What lay in some directories at one moment.
#[derive(Debug)]
pub struct Census {
    directories: Vec<PathBuf>,
    entries: BTreeSet<PathBuf>,
}

impl Census {
    /// Lists what lies directly in each directory; one that does not exist holds nothing.
    pub fn take(directories: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let directories: Vec<PathBuf> = directories.into_iter().map(Into::into).collect();
        let entries = list(&directories);
        Self { directories, entries }
    }

    /// What lies there now and did not then.
    pub fn appeared(&self) -> Vec<PathBuf> {
        list(&self.directories).difference(&self.entries).cloned().collect()
    }
}

fn list(directories: &[PathBuf]) -> BTreeSet<PathBuf> {
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    entries.flatten().filter_map(Result::ok).map(|entry| entry.path()).collect()
}

fn all_processes() -> Vec<LeftProcess> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(read_process).collect()
}

/// `None` for a process that ended meanwhile or is a zombie.
fn read_process(pid: i32) -> Option<LeftProcess> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything, also spaces and parentheses.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
    if state == "Z" || state == "X" {
        return None;
    }
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end().to_owned();
    Some(LeftProcess { pid, parent, command })
}
