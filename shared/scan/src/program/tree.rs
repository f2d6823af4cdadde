//! Every entry of the tree that this user could have written, each inode once.
//!
//! Not by time stamps, which their owner sets as he likes. What belongs to another user and is closed to this one, or lies
//! on a mount that is read-only, came with the image, is the same in every sandbox and is not read. Folders that have to be
//! opened on the way are closed again at the end.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, StatFs, StatVfsMountFlags};

use super::content::Scan;
use super::meter::Exhausted;
use super::mounts;
use crate::report::{Place, UnsearchedReason};
use crate::search::Request;

/// File systems that the kernel makes up: <linux/magic.h>.
const MADE_UP: [u64; 5] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1];

/// A walk over the tree.
pub(super) struct Walk<'a> {
    roots: &'a [String],
    skipped: HashSet<&'a Path>,
    user: u32,
    groups: Vec<u32>,
    /// Files with several names, by device and inode.
    seen: HashSet<(u64, u64)>,
    /// Where something is mounted, and could be mounted writable.
    mounts: Vec<PathBuf>,
    /// Folders whose modes were changed, to be put back once nothing beneath is to be reached any more.
    opened: Vec<(PathBuf, u32)>,
}

/// An entry that is still to be visited.
struct Ahead {
    path: PathBuf,
    /// Whether its folder can be written to at all.
    mount: Mount,
}

/// How what an entry lies on is mounted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mount {
    Writable,
    ReadOnly,
}

impl<'a> Walk<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let mut groups: Vec<u32> = rustix::process::getgroups()
            .unwrap_or_default()
            .into_iter()
            .map(rustix::fs::Gid::as_raw)
            .collect();
        groups.push(rustix::process::getegid().as_raw());
        Self {
            roots: &request.roots,
            skipped: request.skipped.iter().map(Path::new).collect(),
            user: rustix::process::geteuid().as_raw(),
            groups,
            seen: HashSet::new(),
            mounts: mounts::points(),
            opened: Vec::new(),
        }
    }

    pub(super) fn run(mut self, scan: &mut Scan<'_>) {
        for root in self.roots {
            if self.entry(Path::new(root), scan).is_err() {
                scan.give_up();
                break;
            }
        }
        // From the innermost outwards: what is closed cannot be reached through.
        for (path, mode) in self.opened.iter().rev() {
            fs::set_permissions(path, Permissions::from_mode(*mode)).ok();
        }
    }

    /// An explicit stack instead of calls within calls: a tree may be deeper than a thread's stack.
    fn entry(&mut self, root: &Path, scan: &mut Scan<'_>) -> Result<(), Exhausted> {
        let mut ahead = vec![Ahead { path: root.to_owned(), mount: mount_of(root) }];
        while let Some(Ahead { path, mount }) = ahead.pop() {
            scan.check_time()?;
            if self.skipped.contains(path.as_path()) {
                continue;
            }
            let metadata = match path.symlink_metadata() {
                Ok(metadata) => metadata,
                // The kernel made it up for a moment, or it is no more: it is in no capture.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // Such as a path that is too long to be named: whatever is there, nobody has read it.
                Err(_) => {
                    scan.unsearched(&path, UnsearchedReason::Unreadable);
                    continue;
                }
            };
            let own = mount == Mount::Writable && self.could_write(&metadata);
            if own {
                scan.name(&path)?;
            }
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.folder(&path, &metadata, own, &mut ahead, scan);
            } else if own && kind.is_symlink() {
                if let Ok(target) = path.read_link() {
                    scan.text(&path, target.as_os_str().as_bytes(), &Place::LinkTarget)?;
                }
            } else if own && kind.is_file() && self.is_new(&metadata) {
                self.file(&path, &metadata, scan)?;
            }
        }
        Ok(())
    }

    fn folder(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        own: bool,
        ahead: &mut Vec<Ahead>,
        scan: &mut Scan<'_>,
    ) {
        if is_made_up(path) {
            return;
        }
        let mount = mount_of(path);
        let leads_on = || self.mounts.iter().any(|point| point != path && point.starts_with(path));
        if mount == Mount::ReadOnly && !leads_on() {
            return;
        }
        let opened = Opened::new(path, metadata, 0o500, self.user);
        match fs::read_dir(path) {
            Ok(entries) => {
                // Kept open until everything beneath is read: it has to be reachable.
                self.opened.extend(opened.leave_open());
                let entries = entries.filter_map(Result::ok);
                ahead.extend(entries.map(|entry| Ahead { path: entry.path(), mount }));
            }
            Err(_) if own => scan.unsearched(path, UnsearchedReason::Unreadable),
            // A folder of another user that is closed to this one.
            Err(_) => {}
        }
    }

    fn file(&self, path: &Path, metadata: &Metadata, scan: &mut Scan<'_>) -> Result<(), Exhausted> {
        let opened = Opened::new(path, metadata, 0o400, self.user);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map(fs::File::from);
        drop(opened);
        match file {
            // What it was a moment ago may be something else by now, and a pipe would be waited on for ever.
            Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => scan.file(path, file),
            Ok(_) | Err(_) => {
                scan.unsearched(path, UnsearchedReason::Unreadable);
                Ok(())
            }
        }
    }

    fn could_write(&self, metadata: &Metadata) -> bool {
        let mode = metadata.mode();
        // The mode of a symbolic link says nothing: only its owner can have made it.
        let by_mode = !metadata.file_type().is_symlink()
            && (mode & 0o002 != 0 || (mode & 0o020 != 0 && self.groups.contains(&metadata.gid())));
        metadata.uid() == self.user || by_mode
    }

    fn is_new(&mut self, metadata: &Metadata) -> bool {
        metadata.nlink() < 2 || self.seen.insert((metadata.dev(), metadata.ino()))
    }
}

/// A file or folder whose owner may read it for a while, although its mode says otherwise.
struct Opened<'a> {
    path: &'a Path,
    before: Option<u32>,
}

impl<'a> Opened<'a> {
    fn new(path: &'a Path, metadata: &Metadata, needed: u32, user: u32) -> Self {
        let mode = metadata.mode() & 0o7777;
        let closed = metadata.uid() == user && mode & needed != needed;
        let changed = closed && fs::set_permissions(path, Permissions::from_mode(mode | needed)).is_ok();
        Self { path, before: changed.then_some(mode) }
    }

    /// What is to be put back later, and by others.
    fn leave_open(mut self) -> Option<(PathBuf, u32)> {
        self.before.take().map(|mode| (self.path.to_owned(), mode))
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if let Some(mode) = self.before {
            // The sandbox is thrown away: a mode that cannot be put back harms nobody.
            fs::set_permissions(self.path, Permissions::from_mode(mode)).ok();
        }
    }
}

/// By the flags of the mount and not by device: one file system may be bound read-only in one place and writable in another.
fn mount_of(path: &Path) -> Mount {
    let read_only = |found: rustix::fs::StatVfs| found.f_flag.contains(StatVfsMountFlags::RDONLY);
    if rustix::fs::statvfs(path).is_ok_and(read_only) { Mount::ReadOnly } else { Mount::Writable }
}

fn is_made_up(path: &Path) -> bool {
    let Ok(path) = CString::new(OsStr::as_bytes(path.as_os_str())) else { return false };
    rustix::fs::statfs(path.as_c_str())
        .is_ok_and(|StatFs { f_type, .. }| u64::try_from(f_type).is_ok_and(|kind| MADE_UP.contains(&kind)))
}
