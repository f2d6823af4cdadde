//! `make smoke-daytona` as a person runs it, with sandboxd in the place of Daytona, in the manner of either version: it passes,
//! it fails where it should, it leaves nothing behind either way, and without a key it says that it tested nothing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use daytona::Client;
use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::fleet::{Fleet, FleetPlan};
use fleet_tests::git_server::GitServer;
use fleet_tests::processes::FleetProcess;
use fleet_tests::programs;
use fleet_tests::rabbit::{VirtualHost, virtual_host};
use fleet_tests::{guard, image_tools};
use serde_json::json;
use tempfile::TempDir;

const SMOKE: Duration = Duration::from_mins(10);
/// Somebody else's, in the same account.
const FOREIGN: &str = "foreign";
const SOON: Duration = Duration::from_mins(3);

fn program() -> PathBuf {
    programs::example("smoke-daytona").unwrap()
}

/// An account at a Daytona, a git host, a RabbitMQ.
struct Account {
    fleet: Fleet,
    git: GitServer,
    host: VirtualHost,
    client: Client,
    _directory: TempDir,
}

impl Account {
    /// At a Daytona of this version.
    async fn open(manner: &str) -> Self {
        let host = virtual_host().await;
        let directory = guard::temporary_directory("account").unwrap();
        let mut plan = FleetPlan::new("account", &host.amqp_url(), directory.path());
        plan.sandboxd_flags.extend(image_tools::flags().unwrap());
        // What is only met in production: an address that fails three times is locked out, and data takes its time.
        let production =
            ["--failed-authentications", "3", "--capture-per-megabyte", "20", "--pull-per-megabyte", "20"];
        plan.sandboxd_flags
            .extend(["--faults", "--manner", manner].iter().chain(&production).map(OsString::from));
        let fleet = Fleet::start(plan).await.unwrap();
        let settings = crate::sections::daytona(fleet.api_url(), fleet.api_key());
        let git = GitServer::start().await.unwrap();
        Self { fleet, git, host, client: Client::new(settings).unwrap(), _directory: directory }
    }

    /// What others have in the account.
    async fn plant_foreign_rows(&self) {
        let url = format!("{}/faults/rows", self.fleet.api_url().trim_end_matches("/api"));
        for row in [
            json!({ "kind": "sandbox", "row": { "id": FOREIGN, "name": FOREIGN, "state": "melting", "cpu": 1.5,
                "labels": { "count": 1, "none": null, "nested": { "a": ["b"] } } } }),
            json!({ "kind": "snapshot", "row": { "id": FOREIGN, "name": format!("hv.{FOREIGN}"), "state": null, "size": "big" } }),
        ] {
            reqwest::Client::new().post(&url).json(&row).send().await.unwrap().error_for_status().unwrap();
        }
    }

    fn smoke(&self, arguments: &[&str]) -> FleetProcess {
        let clone_url = self.git.url_template();
        let own = ["--repository", "acme/small", "--branch", "main", "--clone-url", &clone_url];
        let variables = [
            ("DAYTONA_API_URL", OsString::from(self.fleet.api_url())),
            ("DAYTONA_API_KEY", OsString::from(self.fleet.api_key())),
            ("AMQP_URL", OsString::from(self.host.amqp_url())),
        ];
        FleetProcess::spawn_binary(&program(), own.iter().chain(arguments), variables).unwrap()
    }

    /// What is there of the smoke test that said this.
    async fn left_of(&self, said: &str) -> Vec<String> {
        let name = said.split_once("fleet smoke-").unwrap().1.split_once(';').unwrap().0;
        let objects = format!("harvest.smoke-{name}.");
        let sandboxes = self.client.list_sandboxes(&std::collections::BTreeMap::new()).await.unwrap();
        let snapshots = self.client.list_snapshots("hv.").await.unwrap();
        let declared = self.host.objects().await.unwrap();
        let declared = declared.into_iter().filter(|name| name.starts_with(&objects));
        sandboxes
            .into_iter()
            .map(|sandbox| sandbox.name)
            .chain(snapshots.into_iter().map(|snapshot| snapshot.name))
            .chain(declared)
            .filter(|name| !name.contains(FOREIGN))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_test_passes_or_fails_as_it_should_and_leaves_nothing() {
    let account = Account::open("v0.226").await;
    let head = account.git.create_repo("acme/small", Sample::NpmService).await.unwrap();

    let mut passes = account.smoke(&[]);
    let status = passes.ended(SMOKE).await.unwrap();
    let said = passes.stdout();
    assert_eq!(status.code(), Some(0), "{said}\n{}", passes.stderr());
    for line in ["is active", "promoted: hv.smoke-", "PASSED"] {
        assert!(said.contains(line), "no {line} in\n{said}");
    }
    assert!(said.contains(&format!("its manifest and its checkout are of {head}")), "{said}");
    assert_eq!(account.left_of(&said).await, Vec::<String>::new(), "{said}");

    let mut baseless = account.smoke(&["--base-snapshot", "not-made-yet"]);
    assert_eq!(baseless.ended(SOON).await.unwrap().code(), Some(1));
    assert!(
        baseless.stdout().contains("make it in this account with snapshot/build.sh"),
        "{}",
        baseless.stdout()
    );

    // In the middle of a build.
    let mut interrupted = account.smoke(&[]);
    eventually(SMOKE, "a sandbox is there", async || {
        let sandboxes = account.client.list_sandboxes(&std::collections::BTreeMap::new()).await;
        sandboxes.is_ok_and(|there| !there.is_empty()).then_some(()).ok_or("none")
    })
    .await;
    let status = interrupted.terminate(SMOKE).await.unwrap();
    let said = interrupted.stdout();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED: terminated") && said.contains("deleting the sandbox"), "{said}");
    assert_eq!(account.left_of(&said).await, Vec::<String>::new(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_test_passes_at_the_open_daytona() {
    let account = Account::open("v0.190").await;
    account.git.create_repo("acme/small", Sample::NpmService).await.unwrap();
    account.plant_foreign_rows().await;
    let mut passes = account.smoke(&[]);
    let status = passes.ended(SMOKE).await.unwrap();
    let said = passes.stdout();
    assert_eq!(status.code(), Some(0), "{said}\n{}", passes.stderr());
    assert!(said.contains("PASSED"), "{said}");
    assert_eq!(account.left_of(&said).await, Vec::<String>::new(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_test_that_cannot_install_fails_and_leaves_nothing() {
    let account = Account::open("v0.226").await;
    account.git.create_repo("acme/small", Sample::BrokenLockfile).await.unwrap();
    let mut smoke = account.smoke(&[]);
    let status = smoke.ended(SMOKE).await.unwrap();
    let said = smoke.stdout();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED: harvestctl submit") && !said.contains("PASSED"), "{said}");
    assert_eq!(account.left_of(&said).await, Vec::<String>::new(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_smoke_test_says_that_it_tested_nothing() {
    let mut keyless = FleetProcess::spawn_binary(&program(), [] as [&str; 0], []).unwrap();
    assert_eq!(keyless.ended(SOON).await.unwrap().code(), Some(69));
    let said = keyless.stdout();
    assert!(
        said.contains("NOTHING was tested") && said.contains("a sandbox started from the prebuild"),
        "{said}"
    );
}
