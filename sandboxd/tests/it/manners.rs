//! What differs from version to version, and what Daytona's clocks, images and runners do to snapshots.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use sandboxd::{Manner, Transfers};
use serde_json::{Value, json};

use crate::support::Server;

async fn start(manner: Manner) -> Server {
    Server::start_with(|settings| settings.manner = manner).await
}

/// What both say alike.
async fn check_common(server: &Server) {
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    for path in ["autostop/20", "autodelete/5", "last-activity"] {
        let (status, _) = client.post(&format!("/api/sandbox/{id}/{path}"), &Value::Null).await;
        assert_eq!(status, StatusCode::CREATED, "{path}");
    }
    let (status, refusal) = client.get("/api/snapshots/none").await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::NOT_FOUND, Some("Snapshot with name none not found"))
    );
    let form = reqwest::multipart::Form::new().text("files[0].file", "no path before it");
    let upload = client.http.post(format!("{}/toolbox/{id}/files/bulk-upload", client.base));
    let answer = upload.bearer_auth(crate::support::KEY).multipart(form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.json::<Value>().await.unwrap()["files"], Value::Null);

    // The capture is held, so that the second one meets it.
    let stuck = json!({ "match": { "path_pattern": "/api/sandbox/*/snapshot" }, "action": { "kind": "stuck_state" } });
    client.post("/faults", &stuck).await;
    let capture = format!("/api/sandbox/{id}/snapshot");
    assert_eq!(client.post(&capture, &json!({ "name": "first" })).await.1["state"], "snapshotting");
    let (status, refusal) = client.post(&capture, &json!({ "name": "second" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refusal}");
    assert!(
        refusal["message"].as_str().unwrap().contains("must be in started or stopped state"),
        "{refusal}"
    );
    let (status, _) = client.delete(&format!("/api/sandbox/{id}")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    client.delete("/faults").await;
    client.eventually("/api/snapshots/first", |_, row| row["state"] == "active").await;
}

#[tokio::test]
async fn v0_190_has_no_ttl_and_no_row_before_the_end() {
    let server = start(Manner::V0_190).await;
    let client = &server.client;
    check_common(&server).await;
    assert_eq!(client.get("/api/config").await.1["version"], "0.190.0");
    let (_, row) =
        client.post("/api/sandbox", &json!({ "name": "t", "ttlMinutes": 9, "queueTimeout": 9 })).await;
    assert!(row.get("autoDestroyAt").is_none() && row.get("queueTimeout").is_none(), "{row}");
    let (status, refusal) = client.post("/api/sandbox/t/ttl/5", &Value::Null).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::NOT_FOUND, Some("Cannot POST /api/sandbox/t/ttl/5"))
    );
    assert_eq!(client.get("/api/sandbox/paginated").await.1["page"], 1);
    client.reaches("t", "started").await;

    let stuck = json!({ "match": { "path_pattern": "/api/sandbox/*/snapshot" }, "action": { "kind": "stuck_state" } });
    client.post("/faults", &stuck).await;
    client.post("/api/sandbox/t/snapshot", &json!({ "name": "held" })).await;
    assert_eq!(client.get("/api/snapshots/held").await.0, StatusCode::NOT_FOUND);
    client.delete("/faults").await;
    let row = client.eventually("/api/snapshots/held", |status, _| status == StatusCode::OK).await;
    assert_eq!((&row["state"], &row["imageName"]), (&json!("active"), &json!("")));
    assert_eq!(row["sourceSandboxId"], Value::Null);

    // A name that is taken is noticed at the end, and nobody is told.
    client.reaches("t", "started").await;
    client.execute_named("t", "echo more > /workspace/more").await;
    assert_eq!(client.post("/api/sandbox/t/snapshot", &json!({ "name": "held" })).await.0, StatusCode::OK);
    client.reaches("t", "started").await;
    assert_eq!(client.get("/api/snapshots/held").await.1["id"], row["id"]);
    server.end().await;
}

#[tokio::test]
async fn v0_226_shows_the_row_from_the_beginning() {
    let server = start(Manner::V0_226).await;
    let client = &server.client;
    check_common(&server).await;
    let id = client.sandbox(&json!({ "name": "t", "ttlMinutes": 9 })).await;
    assert_eq!(client.post("/api/sandbox/t/ttl/5", &Value::Null).await.0, StatusCode::CREATED);
    assert_eq!(client.get("/api/sandbox/paginated").await.0, StatusCode::NOT_FOUND);

    let stuck = json!({ "match": { "path_pattern": "/api/sandbox/*/snapshot" }, "action": { "kind": "stuck_state" } });
    client.post("/faults", &stuck).await;
    client.post("/api/sandbox/t/snapshot", &json!({ "name": "held" })).await;
    let (_, row) = client.get("/api/snapshots/held").await;
    assert_eq!((&row["state"], row["sourceSandboxId"].as_str()), (&json!("snapshotting"), Some(id.as_str())));
    client.delete("/faults").await;
    client.eventually("/api/snapshots/held", |_, row| row["state"] == "active").await;
    client.reaches("t", "started").await;

    let broken = json!({ "match": { "path_pattern": "/api/sandbox/*/snapshot" },
        "action": { "kind": "snapshot_error", "reason": "the registry is down" } });
    client.post("/faults", &broken).await;
    client.post("/api/sandbox/t/snapshot", &json!({ "name": "broken" })).await;
    let row = client.eventually("/api/snapshots/broken", |_, row| row["state"] == "error").await;
    assert_eq!(row["errorReason"], "the registry is down");
    server.end().await;
}

#[tokio::test]
async fn without_a_runner_a_create_is_refused_or_queued() {
    let server = Server::start_with(|settings| settings.minute = Duration::from_millis(200)).await;
    let client = &server.client;
    let none = json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox" }, "times": 3,
        "action": { "kind": "no_runner" } });
    client.post("/faults", &none).await;
    let (status, refusal) = client.post("/api/sandbox", &json!({})).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::BAD_REQUEST, Some("No available runners"))
    );
    let (_, row) = client.post("/api/sandbox", &json!({ "name": "late", "queueTimeout": 1 })).await;
    assert_eq!((&row["state"], row.get("runnerId")), (&json!("pulling_snapshot"), None), "{row}");
    let id = row["id"].as_str().unwrap();
    let row = client.eventually(&format!("/api/sandbox/{id}"), |_, row| row["state"] == "destroyed").await;
    assert!(row["queueTimedOutAt"].is_string(), "{row}");
    assert_eq!(client.get("/api/sandbox/late").await.0, StatusCode::NOT_FOUND, "only by its id");
    let labels = json!({ "labels": {} });
    for (method, path) in [(Method::DELETE, ""), (Method::PUT, "/labels")] {
        let (status, _) = client.call(method, &format!("/api/sandbox/{id}{path}"), &labels).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "only read");
    }
    assert_eq!(client.get("/api/sandbox").await.1["items"], json!([]));

    client.post("/api/sandbox", &json!({ "name": "late", "queueTimeout": 1000 })).await;
    client.delete("/faults").await;
    client.reaches("late", "started").await;
    assert_eq!(client.post("/api/sandbox", &json!({ "queueTimeout": 0 })).await.0, StatusCode::BAD_REQUEST);
    server.end().await;
}

#[tokio::test]
async fn waking_destroys_a_capture_and_pulls_an_image() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let captured = client.snapshot(&id, "captured").await;
    let image = json!({ "name": "pulled", "imageName": "registry.invalid/base:1" });
    let (_, row) = client.post("/api/snapshots", &image).await;
    assert_eq!(row["state"], "pending");
    let pulled = row["id"].as_str().unwrap().to_owned();
    let row = client.eventually("/api/snapshots/pulled", |_, row| row["state"] == "active").await;
    assert_eq!(row["size"], 0.148);
    let size = client.get("/api/snapshots/captured").await.1["size"].as_f64().unwrap();
    assert!((0.389..0.4).contains(&size), "{size}");

    let turn = async |snapshot: &str, verb: &str| {
        client.call(Method::POST, &format!("/api/snapshots/{snapshot}/{verb}"), &Value::Null).await
    };
    let (status, refusal) = turn(&captured, "activate").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refusal["message"], format!("Snapshot {captured} is already active"));
    let long_ago = json!({ "updatedAt": "2026-01-01T00:00:00Z" });
    for snapshot in [&captured, &pulled] {
        assert_eq!(turn(snapshot, "deactivate").await.0, StatusCode::NO_CONTENT);
        let (status, refusal) = turn(snapshot, "activate").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains("still in progress"), "{refusal}");
        let (status, _) = client.call(Method::PUT, &format!("/faults/snapshots/{snapshot}"), &long_ago).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(turn(snapshot, "activate").await.1["state"], "pending");
    }
    client.eventually("/api/snapshots/pulled", |_, row| row["state"] == "active").await;
    let row = client.eventually("/api/snapshots/captured", |_, row| row["state"] == "error").await;
    assert_eq!(row["errorReason"], "invalid reference format");
    let (status, refusal) = turn(&captured, "activate").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refusal["message"].as_str().unwrap().ends_with("it is in error state"), "{refusal}");
    server.end().await;
}

#[tokio::test]
async fn two_pulls_of_one_image_do_not_go_together() {
    let server = Server::start().await;
    let client = &server.client;
    let stuck = json!({ "match": { "method": "POST", "path_pattern": "/api/snapshots" }, "action": { "kind": "stuck_state" } });
    client.post("/faults", &stuck).await;
    let image = |name: &str| json!({ "name": name, "imageName": "registry.invalid/base:1" });
    client.post("/api/snapshots", &image("one")).await;
    client.eventually("/api/snapshots/one", |_, row| row["state"] == "pulling").await;
    client.post("/api/snapshots", &image("two")).await;
    let row = client.eventually("/api/snapshots/two", |_, row| row["state"] == "error").await;
    assert_eq!(row["errorReason"], "An operation is already in progress for this resource");
    client.delete("/faults").await;
    client.eventually("/api/snapshots/one", |_, row| row["state"] == "active").await;
    for refused in ["base", "base:latest"] {
        let (status, _) = client.post("/api/snapshots", &json!({ "name": "x", "imageName": refused })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    }
    server.end().await;
}

#[tokio::test]
async fn the_first_start_on_each_runner_pulls() {
    let server = Server::start_with(|settings| {
        settings.transfers =
            Transfers { pull_per_megabyte: Duration::from_millis(300), runners: 2, ..Transfers::default() };
    })
    .await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    client.execute(&id, "head -c 3000000 /dev/urandom > /workspace/data").await;
    client.snapshot(&id, "large").await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let began = Instant::now();
        client.sandbox(&json!({ "snapshot": "large" })).await;
        slow.push(began.elapsed() >= Duration::from_millis(900));
    }
    assert_eq!(slow[..2], [true, true], "each runner pulls once");
    server.end().await;
}

#[tokio::test]
async fn a_class_goes_from_snapshot_to_sandbox_to_snapshot() {
    let server = Server::start().await;
    let client = &server.client;
    let image = json!({ "name": "vm", "imageName": "registry.invalid/vm:1", "sandboxClass": "linux-vm" });
    client.post("/api/snapshots", &image).await;
    client.eventually("/api/snapshots/vm", |_, row| row["state"] == "active").await;
    let id = client.sandbox(&json!({ "snapshot": "vm", "kvm": true, "autoDeleteInterval": 30 })).await;
    let (_, row) = client.get(&format!("/api/sandbox/{id}")).await;
    assert_eq!((&row["sandboxClass"], &row["kvm"]), (&json!("linux-vm"), &json!(true)));
    let capture = format!("/api/sandbox/{id}/snapshot");
    let (status, refusal) = client.post(&capture, &json!({ "name": "captured" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refusal}");
    client.post(&format!("/api/sandbox/{id}/stop"), &Value::Null).await;
    client.reaches(&id, "stopped").await;
    assert_eq!(client.post(&capture, &json!({ "name": "captured" })).await.0, StatusCode::OK);
    let row = client.eventually("/api/snapshots/captured", |_, row| row["state"] == "active").await;
    assert_eq!(row["sandboxClass"], "linux-vm");
    let (status, _) = client.post("/api/sandbox", &json!({ "kvm": true })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the base is a container");
    server.end().await;
}

#[tokio::test]
async fn a_dead_runner_holds_what_it_took_and_takes_no_more() {
    let server = Server::start().await;
    let client = &server.client;
    for action in ["stuck_state", "no_runner"] {
        let rule = json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox" }, "action": { "kind": action } });
        assert_eq!(client.post("/faults", &rule).await.0, StatusCode::CREATED);
    }
    // Answered after 30 s; what there is of it is seen before.
    let held = json!({ "name": "held" });
    tokio::select! {
        _ = client.post("/api/sandbox", &held) => panic!("nothing starts it"),
        () = client.reaches("held", "creating") => {}
    }
    assert_eq!(client.delete("/api/sandbox/held").await.0, StatusCode::CONFLICT);
    let (status, refusal) = client.post("/api/sandbox", &json!({})).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::BAD_REQUEST, Some("No available runners"))
    );
    client.delete("/faults").await;
    client.reaches("held", "started").await;
    server.end().await;
}
