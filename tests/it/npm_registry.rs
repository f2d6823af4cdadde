//! The registry that sandboxes of the tests share: it asks once, gives on what it was told, and stands behind every other.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use fleet_tests::npm_registry::NpmRegistry;
use tokio::net::TcpListener;

const ARCHIVE: &str = "/thing/-/thing-1.0.0.tgz";
const ELSEWHERE: &str = "http://127.0.0.1:9/";

/// A registry of one package, which remembers what it was asked.
struct Upstream {
    asked: Arc<Mutex<Vec<String>>>,
    _cache: tempfile::TempDir,
}

impl Upstream {
    /// Starts it, and the tests' registry in front of it, with a cache of its own.
    async fn start() -> (Self, NpmRegistry) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let routes = Router::new().fallback(answer).with_state((url.clone(), Arc::clone(&asked)));
        tokio::spawn(async { axum::serve(listener, routes).await });
        let cache = tempfile::tempdir().unwrap();
        let own = [
            ("npm_config_registry", OsString::from(&url)),
            ("npm_config_cache", cache.path().into()),
            ("npm_config_noproxy", "127.0.0.1".into()),
        ];
        let registry =
            NpmRegistry::start_with(own).await.unwrap().expect("the image is built for this platform");
        (Self { asked, _cache: cache }, registry)
    }

    fn asked_for(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

async fn answer(State((url, asked)): State<(String, Arc<Mutex<Vec<String>>>)>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    asked.lock().unwrap().push(path.clone());
    match path.as_str() {
        "/thing" => {
            let tarball = format!("{}{ARCHIVE}", url.trim_end_matches('/'));
            let package =
                format!(r#"{{"name":"thing","versions":{{"1.0.0":{{"dist":{{"tarball":"{tarball}"}}}}}}}}"#);
            ([(header::CONTENT_TYPE, "application/json")], package).into_response()
        }
        ARCHIVE => vec![7_u8; 1000].into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn what_one_sandbox_has_fetched_no_other_fetches_again() {
    let (upstream, registry) = Upstream::start().await;
    let at = |path: &str| format!("{}{path}", registry.settings().url().trim_end_matches('/'));
    for _sandbox in 0..3 {
        let package = reqwest::get(at("/thing")).await.unwrap().text().await.unwrap();
        assert!(package.contains(&at(ARCHIVE)), "npm takes an archive from where this says: {package}");
        let archive = reqwest::get(at(ARCHIVE)).await.unwrap().bytes().await.unwrap();
        assert_eq!(archive, vec![7_u8; 1000]);
    }
    assert_eq!((upstream.asked_for("/thing"), upstream.asked_for(ARCHIVE)), (1, 1));
}

#[tokio::test]
async fn a_package_that_there_is_not_is_not_there_and_is_asked_anew() {
    let (upstream, registry) = Upstream::start().await;
    for times in 1..=2 {
        let absent = reqwest::get(format!("{}absent", registry.settings().url())).await.unwrap();
        assert_eq!((absent.status().as_u16(), upstream.asked_for("/absent")), (404, times));
    }
}

#[tokio::test]
async fn sandboxes_only_read_from_the_registry_and_from_no_other() {
    let (upstream, registry) = Upstream::start().await;
    let url = registry.settings().url();
    let client = reqwest::Client::new();
    for written in [client.put(format!("{url}thing")), client.post(format!("{url}-/npm/v1/security/audits"))]
    {
        assert_eq!(written.send().await.unwrap().status().as_u16(), 405);
    }
    assert_eq!(client.get(format!("{url}/{ELSEWHERE}")).send().await.unwrap().status().as_u16(), 405);
    assert!(upstream.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_registry_that_somebody_else_names_is_asked_instead() {
    let (_upstream, registry) = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let [project, user] = ["project", "user"].map(|name| folder.path().join(name));
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("package.json"), "{}").unwrap();
    let url = registry.settings().url();
    let chosen = |variables: &[(&str, &str)]| {
        let mut npm = std::process::Command::new("npm");
        npm.args(["config", "get", "registry"]).current_dir(&project).env_remove("npm_config_registry");
        npm.env("npm_config_globalconfig", registry.settings().global_settings());
        npm.env("NPM_CONFIG_USERCONFIG", &user).envs(variables.iter().copied());
        String::from_utf8(npm.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let name_in = |file: &Path| std::fs::write(file, format!("registry={ELSEWHERE}\n")).unwrap();

    assert_eq!(chosen(&[]), url);
    assert_eq!(chosen(&[("npm_config_registry", ELSEWHERE)]), ELSEWHERE, "as the worker's mirror does");
    name_in(&user);
    assert_eq!(chosen(&[]), ELSEWHERE, "as a build does that writes settings into its home");
    std::fs::remove_file(&user).unwrap();
    name_in(&project.join(".npmrc"));
    assert_eq!(chosen(&[]), ELSEWHERE, "as a repository does");
}
