//! Real repositories, and a real `git http-backend` behind a small HTTP server that plays a git host.

#![allow(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use url::Url;

/// A bare repository with one commit on `main` and on every further branch named.
pub(crate) struct Repository {
    folder: TempDir,
    pub(crate) commit: String,
}

impl Repository {
    pub(crate) fn new(branches: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("repo.git");
        git(folder.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "repo.git"]);
        let tree = git(&bare, &["hash-object", "-t", "tree", "-w", "--stdin"]);
        let commit = git(&bare, &["commit-tree", "-m", "first", &tree]);
        for branch in ["main"].iter().chain(branches) {
            git(&bare, &["update-ref", &format!("refs/heads/{branch}"), &commit]);
        }
        Self { folder, commit }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file_url(&self) -> Url {
        Url::from_file_path(self.folder.path().join("repo.git")).unwrap()
    }
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(folder).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
    let out = git.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Status, headers, body.
pub(crate) type Fixed = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// How the host behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// Ignores `Git-Protocol`, like a server from before 2018.
    pub(crate) only_version_zero: bool,
    /// Wants this `Authorization`.
    pub(crate) authorization: Option<String>,
    /// Sends `/moved/...` to this base.
    pub(crate) moved_to: Option<String>,
    /// Answers everything with this.
    pub(crate) always: Option<Fixed>,
}

#[derive(Clone)]
pub(crate) struct Host {
    manners: Manners,
    root: std::path::PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Host {
    pub(crate) async fn start(root: &Path, manners: Manners) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = Self { manners, root: root.to_owned(), address, seen: Arc::default() };
        let router = Router::new().fallback(serve).with_state(host.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        host
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn plain(status: u16, headers: &[(&'static str, String)], body: Vec<u8>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(body)).unwrap()
}

async fn serve(State(host): State<Host>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    host.seen.lock().unwrap().push((format!("{} {path}", parts.method), parts.headers.clone()));
    if let Some((status, headers, body)) = &host.manners.always {
        return plain(*status, headers, body.clone());
    }
    if let (Some(base), Some(rest)) = (&host.manners.moved_to, path.strip_prefix("/moved")) {
        return plain(301, &[("location", format!("{base}{rest}?{query}"))], vec![]);
    }
    let shown = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    if host.manners.authorization.is_some() && host.manners.authorization != shown {
        return plain(401, &[("www-authenticate", "Basic realm=\"git\"".to_owned())], vec![]);
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    backend(&host, parts.method.as_str(), &path, &query, &parts.headers, &body).await
}

/// Speaks CGI with `git http-backend`.
async fn backend(
    host: &Host,
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut git = tokio::process::Command::new("git");
    git.arg("http-backend").env("GIT_PROJECT_ROOT", &host.root).env("GIT_HTTP_EXPORT_ALL", "1");
    git.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
    git.env("CONTENT_TYPE", header("content-type").unwrap_or_default());
    git.env("CONTENT_LENGTH", body.len().to_string());
    if let Some(protocol) = header("git-protocol").filter(|_| !host.manners.only_version_zero) {
        git.env("GIT_PROTOCOL", protocol);
    }
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = git.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(body).await.unwrap();
    drop(stdin);
    let out = child.wait_with_output().await.unwrap().stdout;
    let end = out.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    let mut status = 200;
    for line in String::from_utf8_lossy(&out[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            status = value[..3].parse().unwrap();
        } else {
            response = response.header(name, value);
        }
    }
    response.status(status).body(Body::from(out[end + 4..].to_vec())).unwrap()
}
