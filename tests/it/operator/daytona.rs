//! A sandbox server for harvestctl to ask.

use fleet_tests::eventually;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::scene::{SOON, Scene};
use crate::sections;

/// A Daytona with nothing in it but its base.
pub(super) struct Daytona {
    url: String,
    pub(super) client: daytona::Client,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), sandboxd::Error>>,
    _folder: TempDir,
}

pub(super) const KEY: &str = "dtn_operator";

impl Daytona {
    pub(super) async fn start() -> Self {
        let folder = fleet_tests::guard::temporary_directory("operator-daytona").unwrap();
        let mut settings = sandboxd::Settings::new(folder.path().join("data"));
        settings.api_keys = vec![sandboxd::ApiKey::full(KEY)];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        fleet_tests::started::count("sandboxd servers in tests' own processes");
        let serving = tokio::spawn(sandboxd::serve(settings, listener, shutdown.clone()));
        let client = daytona::Client::new(sections::daytona(&url, KEY)).unwrap();
        eventually(SOON, "sandboxd answers", async || {
            client.whoami().await.map_err(|error| error.to_string())
        })
        .await;
        Self { url, client, shutdown, serving, _folder: folder }
    }

    /// A snapshot with this name; answers its id.
    pub(super) async fn snapshot(&self, name: &str) -> String {
        let seed = daytona::NewSandbox::new(format!("seed-{}", uuid::Uuid::new_v4()), "harvest-snapshot");
        let sandbox = match self.client.create_sandbox(&seed).await {
            Ok(daytona::CreateOutcome::Created(sandbox)) => sandbox,
            other => panic!("{other:?}"),
        };
        let deadline = tokio::time::Instant::now() + SOON;
        self.client.wait_until_started(&sandbox.id, deadline, daytona::pace::STATE).await.unwrap();
        self.client.create_snapshot_from_sandbox(&sandbox.id, name).await.unwrap();
        eventually(SOON, "the snapshot is active", async || match self.client.get_snapshot(name).await {
            Ok(Some(snapshot)) if snapshot.state == daytona::SnapshotState::Active => {
                Ok(snapshot.id.to_string())
            }
            other => Err(format!("{other:?}")),
        })
        .await
    }

    pub(super) fn tell(&self, scene: &mut Scene) {
        scene.set("DAYTONA_API_URL", &self.url);
        scene.set("DAYTONA_API_KEY", KEY);
    }

    pub(super) async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}
