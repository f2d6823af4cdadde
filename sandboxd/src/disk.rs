//! Sandboxes and snapshots as directories. A sandbox's tree is an overlay over its snapshot where the system allows
//! that, else a copy (reflink where possible); a snapshot is always a whole copy, so it never depends on its parent.
//! Never hard links. What a dead server left is removed at the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::mount::{MountFlags, UnmountFlags};
use tokio::process::Command;

/// The captured directories, under a tree's root.
pub(crate) const CAPTURED: &[(&str, u32)] =
    &[("home", 0o755), ("workspace", 0o755), ("tmp", 0o1777), ("var-tmp", 0o1777)];

/// Who owns what is foreign in a sandbox: inside, no user at all.
const NOBODY: u32 = 65534;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("directory {0} could not be prepared")]
    Directory(PathBuf, #[source] io::Error),
    #[error("cp could not be run")]
    Copy(#[source] io::Error),
    #[error("cp ended with {0}")]
    CopyFailed(std::process::ExitStatus),
    #[error("overlay could not be mounted")]
    Mount(#[source] io::Error),
    #[error("another server uses this data directory")]
    InUse,
}

/// How a sandbox gets its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Overlay,
    Copy,
}

/// A snapshot's files. Sandboxes hold it while they live; a doomed one is removed with the last of them.
#[derive(Debug)]
pub(crate) struct Layer {
    directory: PathBuf,
    doomed: AtomicBool,
    bytes: OnceLock<u64>,
}

impl Layer {
    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// What its files hold, counted once. Takes a while.
    pub(crate) fn bytes(&self) -> u64 {
        *self.bytes.get_or_init(|| size_of(&self.root()))
    }

    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = remove_tree(&self.directory)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "a deleted snapshot's files remain");
        }
    }
}

pub(crate) struct Disk {
    sandboxes: PathBuf,
    snapshots: PathBuf,
    method: Method,
    _lock: fs::File,
}

impl Disk {
    /// Opens `data_dir`, alone, and removes what a dead server left there.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, DiskError> {
        let sandboxes = data_dir.join("sandboxes");
        let snapshots = data_dir.join("snapshots");
        make(&sandboxes)?;
        make(&snapshots)?;
        let path = data_dir.join("lock");
        let lock = fs::File::create(&path).map_err(|error| DiskError::Directory(path, error))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| DiskError::InUse)?;
        for left in entries(&sandboxes)? {
            discard(&left).map_err(|error| DiskError::Directory(left, error))?;
        }
        for left in entries(&snapshots)?.into_iter().filter(|entry| !entry.join("snapshot.json").is_file()) {
            remove_tree(&left).map_err(|error| DiskError::Directory(left, error))?;
        }
        let method = probe(&sandboxes.join("probe"));
        tracing::info!(?method, "sandbox trees");
        Ok(Self { sandboxes, snapshots, method, _lock: lock })
    }

    pub(crate) fn snapshot_directory(&self, id: &str) -> PathBuf {
        self.snapshots.join(id)
    }

    pub(crate) fn snapshot_directories(&self) -> Result<Vec<PathBuf>, DiskError> {
        entries(&self.snapshots)
    }

    pub(crate) fn layer(&self, id: &str) -> Arc<Layer> {
        Arc::new(Layer {
            directory: self.snapshot_directory(id),
            doomed: AtomicBool::new(false),
            bytes: OnceLock::new(),
        })
    }

    /// An empty tree with only what every home has, and in /tmp what its user can't remove.
    pub(crate) fn base(&self, id: &str, foreign: &[String]) -> Result<Arc<Layer>, DiskError> {
        let layer = self.layer(id);
        let root = layer.root();
        for (name, mode) in CAPTURED {
            make(&root.join(name))?;
            set_mode(&root.join(name), *mode)?;
        }
        let home = root.join("home");
        make(&home.join(".harvest/bin"))?;
        let profile = home.join(".profile");
        fs::write(&profile, include_str!("plan/harvest.sh"))
            .map_err(|error| DiskError::Directory(profile, error))?;
        for name in foreign {
            let path = root.join("tmp").join(name);
            fs::write(&path, "of another user\n")
                .and_then(|()| std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)))
                .and_then(|()| std::os::unix::fs::chown(root.join("tmp"), Some(NOBODY), Some(NOBODY)))
                .map_err(|error| DiskError::Directory(path, error))?;
        }
        Ok(layer)
    }

    pub(crate) fn sandbox_root(&self, id: &str) -> PathBuf {
        self.sandboxes.join(id).join("root")
    }

    /// Makes the tree of sandbox `id` from `layer`.
    pub(crate) async fn materialise(&self, id: &str, layer: &Layer) -> Result<(), DiskError> {
        let directory = self.sandboxes.join(id);
        let root = directory.join("root");
        make(&root)?;
        match self.method {
            Method::Overlay => overlay(&layer.root(), &directory),
            Method::Copy => copy(&layer.root(), &root).await,
        }
    }

    /// Copies the tree of sandbox `id` into a new snapshot directory; the caller writes snapshot.json last.
    pub(crate) async fn capture(&self, id: &str, snapshot: &str) -> Result<Arc<Layer>, DiskError> {
        let layer = self.layer(snapshot);
        make(&layer.root())?;
        let copied = copy(&self.sandbox_root(id), &layer.root()).await;
        if copied.is_err() {
            layer.doom();
        }
        copied.map(|()| layer)
    }

    pub(crate) async fn discard_sandbox(&self, id: &str) {
        let directory = self.sandboxes.join(id);
        let path = directory.clone();
        let removed = tokio::task::spawn_blocking(move || discard(&path)).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(directory = %directory.display(), "a sandbox's files remain until the next start");
        }
    }

    pub(crate) fn remove_everything(&self) {
        for directory in [&self.sandboxes, &self.snapshots] {
            if let Err(error) = remove_tree(directory) {
                tracing::warn!(directory = %directory.display(), %error, "files remain");
            }
        }
    }
}

/// Bytes under `directory`, links not followed.
fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path()),
            Ok(_) => entry.metadata().map_or(0, |metadata| metadata.len()),
            Err(_) => 0,
        })
        .sum()
}

fn make(directory: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(directory).map_err(|error| DiskError::Directory(directory.to_owned(), error))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), DiskError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| DiskError::Directory(path.to_owned(), error))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let read = fs::read_dir(directory).map_err(|error| DiskError::Directory(directory.to_owned(), error))?;
    Ok(read.flatten().map(|entry| entry.path()).collect())
}

/// Can an overlay be mounted here, written to, and can a lower directory be renamed?
fn probe(directory: &Path) -> Method {
    let lower = directory.join("lower");
    let tried = (|| {
        fs::create_dir_all(lower.join("sub"))?;
        fs::create_dir_all(directory.join("root"))?;
        overlay(&lower, directory).map_err(io::Error::other)?;
        let merged = directory.join("root");
        let used = fs::rename(merged.join("sub"), merged.join("moved"))
            .and_then(|()| fs::write(merged.join("moved/file"), b"x"))
            .and_then(|()| fs::remove_dir_all(merged.join("moved")));
        unmount(&merged);
        used
    })();
    drop(discard(directory));
    match tried {
        Ok(()) => Method::Overlay,
        Err(_) => Method::Copy,
    }
}

fn overlay(lower: &Path, directory: &Path) -> Result<(), DiskError> {
    let (upper, work) = (directory.join("upper"), directory.join("work"));
    make(&upper)?;
    make(&work)?;
    // `:` and `,` separate the options below; such a path falls to copies.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=on",
        lower.display(),
        upper.display(),
        work.display()
    );
    if options.matches(',').count() != 3 || options.contains(':') || options.contains('\\') {
        return Err(DiskError::Mount(io::ErrorKind::InvalidInput.into()));
    }
    let options = std::ffi::CString::new(options).map_err(|error| DiskError::Mount(error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("sandboxd", directory.join("root"), "overlay", flags, options.as_c_str())
        .map_err(|error| DiskError::Mount(error.into()))
}

fn unmount(path: &Path) {
    // EINVAL (nothing is mounted there) and EPERM (not root, so nothing was) are the usual answers.
    rustix::mount::unmount(path, UnmountFlags::DETACH).ok();
}

async fn copy(from: &Path, to: &Path) -> Result<(), DiskError> {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .arg(from.join("."))
        .arg(to)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(DiskError::Copy)?;
    if status.success() { Ok(()) } else { Err(DiskError::CopyFailed(status)) }
}

fn discard(sandbox: &Path) -> io::Result<()> {
    unmount(&sandbox.join("root"));
    remove_tree(sandbox)
}

/// Removes a tree even where it holds read-only directories (Go's module cache is full of them).
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            std::process::Command::new("chmod").args(["-R", "u+rwX", "--"]).arg(path).status()?;
            fs::remove_dir_all(path)
        }
        Err(error) => Err(error),
    }
}
