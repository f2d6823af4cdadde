//! A proxy before the toolboxes that lets nobody through for longer than anybody waits: whose doing it is, the others tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daytona::{Client, CreateOutcome, NewSandbox, pace};
use fleet_tests::{guard, image_tools, started};
use job::{AttemptId, Failure, FailureKind, SandboxName, Scope, Stage, Target};
use sandboxd::Exposed;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::sandbox::{CommandSection, Environment, Redactor, Sandbox, SandboxWitness, Watching};

const KEY: &str = "a-key-for-tests";

/// A started sandbox of the fleet's, as an attempt makes one.
async fn lease(client: &Client, target: &str) -> daytona::Sandbox {
    let (fleet, target): (job::FleetName, Target) = ("demo".parse().unwrap(), target.parse().unwrap());
    let name = SandboxName::of(&fleet, &target).as_str().to_owned();
    let base = sandboxd::Settings::new(std::path::PathBuf::new()).base_snapshot;
    let labels = BTreeMap::from([("harvest.fleet".to_owned(), fleet.to_string())]);
    let wish = NewSandbox { labels, ..NewSandbox::new(name, base) };
    let created = client.create_sandbox(&wish).await.unwrap();
    let CreateOutcome::Created(sandbox) = created else { panic!("{created:?}") };
    let deadline = Instant::now() + Duration::from_mins(1);
    client.wait_until_started(&sandbox.id, deadline, pace::STATE).await.unwrap()
}

/// What a step of a build ends with while the proxy refuses whatever is at this path.
async fn failure(client: &Client, sandbox: &daytona::Sandbox, faults: &str, path: &str) -> Failure {
    let body = json!({ "message": "Bearer token validation error: connect: connection refused" });
    let action = json!({ "kind": "answer", "status": 401, "body": body });
    let fault = json!({ "match": { "path_pattern": path }, "times": 9999, "action": action });
    let plant = reqwest::Client::new().post(faults).json(&fault);
    plant.send().await.unwrap().error_for_status().unwrap();
    let section = CommandSection { poll: Duration::from_millis(300) };
    let watching = Watching { lost_after: Duration::from_secs(1), ..Watching::new(&section, 0) };
    let redactor = Arc::new(Redactor::of(&[]));
    let witness = SandboxWitness::of(client, sandbox);
    let toolbox = client.toolbox(sandbox).await.unwrap();
    let seen = Sandbox::new(toolbox, witness, redactor, watching, AttemptId::new());
    let timeout = Duration::from_secs(20);
    let ended = seen.short(Stage::Build, "true", &Environment::new(), timeout).await;
    reqwest::Client::new().delete(faults).send().await.unwrap().error_for_status().unwrap();
    ended.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_bad_for_long_is_daytonas_unless_others_answer() {
    let data = guard::temporary_directory("proxy").unwrap();
    let mut settings = sandboxd::Settings::new(data.path().join("data"));
    settings.api_keys = vec![sandboxd::ApiKey::full(KEY)];
    settings.faults = sandboxd::FaultInjection::Enabled;
    let exposed = image_tools::exposed().unwrap();
    settings.expose_read_only = exposed.iter().map(|text| Exposed::parse(text).unwrap()).collect();
    started::count("sandboxd servers in tests' own processes");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(sandboxd::serve(settings, listener, shutdown.clone()));
    let client = Client::new(crate::sections::daytona(&format!("http://{address}/api"), KEY)).unwrap();
    let faults = format!("http://{address}/faults");

    let own = lease(&client, "acme/one@main").await;
    let all = "/toolbox/*/**";
    let alone = failure(&client, &own, &faults, all).await;
    assert_eq!((alone.id, &alone.scope), (FailureKind::DaytonaUnavailable, &Scope::Daytona), "{alone}");
    lease(&client, "acme/two@main").await;
    let both = failure(&client, &own, &faults, all).await;
    assert_eq!((both.id, &both.scope), (FailureKind::DaytonaUnavailable, &Scope::Daytona), "{both}");
    assert!(both.message.contains("lets nobody through"), "{both}");
    let one = failure(&client, &own, &faults, &format!("/toolbox/{}/**", own.id)).await;
    assert_eq!((one.id, &one.scope), (FailureKind::SandboxUnusable, &Scope::Target), "{one}");

    shutdown.cancel();
    serving.await.unwrap().unwrap();
}
