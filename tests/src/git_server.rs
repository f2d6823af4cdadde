//! A git host on loopback: real repositories served by git's own `http-backend` (smart HTTP, protocol v2), with tokens,
//! a record of requests, and faults on demand. What is served is what real git wrote, so nothing here imitates git.

mod backend;
mod git;
mod lfs;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fixtures::Sample;
use crate::guard::{self, Home};

/// The branch that a new repository has.
pub const DEFAULT_BRANCH: &str = "main";

/// How a repository answers when told to misbehave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// 503 to so many requests, then as before.
    Unavailable { times: u32 },
    /// Takes requests and never answers.
    Hang,
}

/// A running git host. Ends, with its repositories, when dropped.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    hosted: Hosted,
    serving: JoinHandle<()>,
    directory: Home,
}

/// What the server knows of one repository beyond what git keeps.
#[derive(Debug, Default)]
struct Repository {
    token: Option<String>,
    fault: Fault,
    requests: Vec<String>,
    /// Where every request is sent on to.
    moved_to: Option<String>,
    /// Git LFS objects, by their SHA-256.
    objects: HashMap<String, Vec<u8>>,
}

/// What a request showed of itself, wherever it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPassword {
    /// The path as it was sent, nothing decoded.
    pub path: String,
    /// The password of its Basic auth.
    pub password: String,
}

/// The repositories by `owner/name`, shared with the request handler.
#[derive(Debug, Clone)]
struct Hosted {
    bare: PathBuf,
    repositories: Arc<Mutex<HashMap<String, Repository>>>,
    passwords: Arc<Mutex<Vec<ShownPassword>>>,
}

impl Hosted {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Repository>> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GitServer {
    /// Starts a host without repositories on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_at(Home::Temporary(guard::temporary_directory("git")?), 0).await
    }

    /// Starts a host that keeps its repositories in `directory` and its port from one run to the next.
    pub async fn start_in(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let note = directory.join("port");
        let port = std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let server = Self::start_at(Home::Kept(directory.to_owned()), port).await?;
        std::fs::write(note, server.address.port().to_string())?;
        Ok(server)
    }

    async fn start_at(directory: Home, port: u16) -> anyhow::Result<Self> {
        let hosted = Hosted {
            bare: directory.path().join("bare"),
            repositories: Arc::default(),
            passwords: Arc::default(),
        };
        std::fs::create_dir_all(&hosted.bare)?;
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => listener,
            // Somebody else has the port by now.
            Err(_) if port != 0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            Err(error) => return Err(error.into()),
        };
        let address = listener.local_addr()?;
        let router = backend::router(hosted.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the git server ended");
            }
        });
        Ok(Self { address, hosted, serving, directory })
    }

    /// Makes a repository (`owner/name`) whose first commit on `main` is the sample's files; answers that commit.
    pub async fn create_repo(&self, name: &str, sample: Sample) -> anyhow::Result<String> {
        self.create_repo_from(name, &sample.path()).await
    }

    /// [`Self::create_repo`], from any directory of files.
    pub async fn create_repo_from(&self, name: &str, files: &Path) -> anyhow::Result<String> {
        if self.bare_path(name).exists() {
            // Kept from an earlier run.
            self.hosted.lock().insert(name.to_owned(), Repository::default());
            return git::head(&self.work_path(name))
                .await
                .with_context(|| format!("reading repository {name}"));
        }
        let commit = git::create(&self.bare_path(name), &self.work_path(name), files).await;
        self.hosted.lock().insert(name.to_owned(), Repository::default());
        commit.with_context(|| format!("making repository {name}"))
    }

    /// Commits `files` (path and text) on top of `branch`, which starts from `main` if new; answers the commit.
    pub async fn commit(&self, name: &str, branch: &str, files: &[(&str, &str)]) -> anyhow::Result<String> {
        git::commit(&self.work_path(name), branch, files)
            .await
            .with_context(|| format!("committing to {name}"))
    }

    /// Commits submodules (path and commit) on top of `branch`; their URLs are in a `.gitmodules` of an earlier commit.
    pub async fn link(&self, name: &str, branch: &str, links: &[(&str, &str)]) -> anyhow::Result<String> {
        git::link(&self.work_path(name), branch, links).await.with_context(|| format!("linking in {name}"))
    }

    /// Replaces the last commit of `branch`, so that the commit it had is on no branch and gone from the server.
    pub async fn force_push(
        &self,
        name: &str,
        branch: &str,
        files: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        git::replace_head(&self.bare_path(name), &self.work_path(name), branch, files)
            .await
            .with_context(|| format!("rewriting {name}"))
    }

    /// Removes `branch`.
    pub async fn delete_branch(&self, name: &str, branch: &str) -> anyhow::Result<()> {
        git::delete_branch(&self.work_path(name), branch).await
    }

    /// From now on the repository answers only to Basic auth with this password, whatever the user; else 401.
    pub fn require_token(&self, name: &str, token: &str) -> anyhow::Result<()> {
        self.change(name, |repository| repository.token = Some(token.to_owned()))
    }

    /// From now on the repository misbehaves so; [`Fault::None`] heals it.
    pub fn set_fault(&self, name: &str, fault: Fault) -> anyhow::Result<()> {
        self.change(name, |repository| repository.fault = fault)
    }

    /// From now on every request for the repository is sent on to `base`, its path beneath that.
    pub fn move_to(&self, name: &str, base: &str) -> anyhow::Result<()> {
        self.change(name, |repository| repository.moved_to = Some(base.to_owned()))
    }

    /// The repository answers by itself again.
    pub fn stay(&self, name: &str) -> anyhow::Result<()> {
        self.change(name, |repository| repository.moved_to = None)
    }

    /// Keeps a Git LFS object for the repository; answers the pointer file that stands for it in a commit.
    pub fn keep_lfs_object(&self, name: &str, content: &[u8]) -> anyhow::Result<String> {
        let id = lfs::object_id(content);
        self.change(name, |repository| drop(repository.objects.insert(id.clone(), content.to_vec())))?;
        Ok(lfs::pointer(&id, content.len()))
    }

    /// Every password that any request showed so far, refused ones and those for no repository too.
    pub fn shown_passwords(&self) -> Vec<ShownPassword> {
        self.hosted.passwords.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every request for the repository so far, faulty and refused ones too: `GET /info/refs?service=git-upload-pack`.
    pub fn requests(&self, name: &str) -> Vec<String> {
        self.hosted.lock().get(name).map(|repository| repository.requests.clone()).unwrap_or_default()
    }

    /// `http://127.0.0.1:PORT/{owner}/{name}.git`
    pub fn url_template(&self) -> String {
        format!("http://{}/{{owner}}/{{name}}.git", self.address)
    }

    /// The HTTP address of one repository.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// `host:port`, as a target's host.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `file:///…/{owner}/{name}.git`, for what needs no server.
    pub fn file_url_template(&self) -> String {
        format!("file://{}/{{owner}}/{{name}}.git", self.hosted.bare.display())
    }

    /// The `file://` address of one repository.
    pub fn file_url(&self, name: &str) -> String {
        format!("file://{}", self.bare_path(name).display())
    }

    fn bare_path(&self, name: &str) -> PathBuf {
        self.hosted.bare.join(format!("{name}.git"))
    }

    fn work_path(&self, name: &str) -> PathBuf {
        self.directory.path().join("work").join(name)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Repository)) -> anyhow::Result<()> {
        let mut repositories = self.hosted.lock();
        change(repositories.get_mut(name).with_context(|| format!("no repository {name}"))?);
        Ok(())
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
