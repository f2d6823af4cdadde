//! Misbehaviour that was asked for, and the counters.

use reqwest::StatusCode;
use sandboxd::Manner;
use serde_json::{Value, json};

use crate::support::{KEY, Server};

async fn plant(server: &Server, rule: Value) {
    let (status, answer) = server.client.post("/faults", &rule).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

#[tokio::test]
async fn answers_limits_and_dropped_connections() {
    let server = Server::start().await;
    let client = &server.client;
    plant(
        &server,
        json!({ "match": { "path_pattern": "/api/sandbox" }, "times": 2, "skip": 1,
        "action": { "kind": "answer", "status": 503, "headers": { "x-it": "was" }, "body": "down" } }),
    )
    .await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(client.get("/api/sandbox").await.0.as_u16());
    }
    assert_eq!(seen, [200, 503, 503, 200]);

    plant(
        &server,
        json!({ "match": { "path_pattern": "/api/sandbox" },
        "action": { "kind": "rate_limit", "throttler": "sandbox-create", "retry_after_seconds": 7 } }),
    )
    .await;
    let limited =
        client.http.post(format!("{}/api/sandbox", client.base)).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(
        (limited.status(), &limited.headers()["retry-after-sandbox-create"]),
        (StatusCode::TOO_MANY_REQUESTS, &"7".parse().unwrap())
    );

    plant(&server, json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox" }, "action": { "kind": "drop_connection_after" } })).await;
    let lost = client
        .http
        .post(format!("{}/api/sandbox", client.base))
        .bearer_auth(KEY)
        .json(&json!({ "name": "lost" }))
        .send()
        .await;
    assert!(lost.is_err(), "{lost:?}");
    client.reaches("lost", "started").await;

    plant(&server, json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox" }, "action": { "kind": "drop_connection_before" } })).await;
    let never = client
        .http
        .post(format!("{}/api/sandbox", client.base))
        .bearer_auth(KEY)
        .json(&json!({ "name": "never" }))
        .send()
        .await;
    assert!(never.is_err(), "{never:?}");
    assert_eq!(client.get("/api/sandbox/never").await.0, StatusCode::NOT_FOUND);
    let (_, counted) = client.get("/faults/requests").await;
    assert_eq!(
        (&counted["events"]["sandbox created"], &counted["requests"]["POST /api/sandbox"]),
        (&json!(1), &json!(3)),
        "{counted}"
    );
    server.end().await;
}

#[tokio::test]
async fn snapshots_fail_in_silence_or_come_late() {
    let server = Server::start_with(|settings| settings.manner = Manner::V0_190).await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let pattern = "/api/sandbox/*/snapshot";
    plant(
        &server,
        json!({ "match": { "path_pattern": pattern }, "action": { "kind": "silent_snapshot_failure" } }),
    )
    .await;
    let capture = format!("/api/sandbox/{id}/snapshot");
    assert_eq!(client.post(&capture, &json!({ "name": "silent" })).await.1["state"], "snapshotting");
    client.reaches(&id, "started").await;
    assert_eq!(client.get("/api/snapshots/silent").await.0, StatusCode::NOT_FOUND);

    plant(&server, json!({ "match": { "path_pattern": pattern }, "action": { "kind": "late_snapshot_row", "milliseconds": 700 } })).await;
    client.post(&capture, &json!({ "name": "late" })).await;
    client.reaches(&id, "started").await;
    assert_eq!(client.get("/api/snapshots/late").await.0, StatusCode::NOT_FOUND);
    client.eventually("/api/snapshots/late", |_, row| row["state"] == "active").await;
    server.end().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_a_sandbox_in_error() {
    let server = Server::start().await;
    let client = &server.client;
    plant(
        &server,
        json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox" },
        "action": { "kind": "start_error", "reason": "disk full", "recoverable": true } }),
    )
    .await;
    let (status, refusal) = client.post("/api/sandbox", &json!({ "name": "bad" })).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::BAD_REQUEST, Some("Sandbox failed to start: disk full"))
    );
    client.reaches("bad", "error").await;
    assert_eq!(client.post("/api/sandbox/bad/recover", &Value::Null).await.0, StatusCode::OK);
    client.reaches("bad", "started").await;

    plant(&server, json!({ "match": { "method": "POST", "path_pattern": "/api/sandbox/bad/snapshot" }, "action": { "kind": "stuck_state" } })).await;
    client.post("/api/sandbox/bad/snapshot", &json!({ "name": "never" })).await;
    let (status, refusal) = client.delete("/api/sandbox/bad").await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::CONFLICT, Some("Sandbox state change in progress"))
    );
    server.end().await;
}
