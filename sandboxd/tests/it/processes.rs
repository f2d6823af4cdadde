//! `execute` and sessions.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn execute_behaves_as_the_daemon() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({ "env": { "OF_SANDBOX": "1" } })).await;

    let merged = client.execute(&id, "echo out; echo err >&2; echo again; printf '\\xff'; exit 3").await;
    assert_eq!(merged, (3, "out\nerr\nagain\n\u{fffd}".to_owned()));
    let request = json!({ "command": "echo $OF_SANDBOX $OF_CALL; pwd", "envs": { "OF_CALL": "2" }, "cwd": "/workspace" });
    assert_eq!(client.execute_with(&id, &request).await, (0, "1 2\n/workspace\n".to_owned()));
    let (exit_code, reason) =
        client.execute_with(&id, &json!({ "command": "true", "cwd": "/nowhere" })).await;
    assert_eq!(exit_code, -1);
    assert!(reason.contains("no such file"), "{reason}");

    let path = format!("/toolbox/{id}/process/execute");
    for refused in [json!({ "command": " " }), json!({ "command": "true", "envs": { "A-B": "" } })] {
        assert_eq!(client.post(&path, &refused).await.0, StatusCode::BAD_REQUEST);
    }
    let slow = json!({ "command": "echo $$ > /tmp/slow; sleep 600", "timeout": 1 });
    let (status, refusal) = client.post(&path, &slow).await;
    assert_eq!((status, refusal["statusCode"].as_u64()), (StatusCode::REQUEST_TIMEOUT, Some(408)));
    let (exit_code, _) = client
        .execute(&id, "while kill -0 $(cat /tmp/slow) 2>/dev/null; do sleep 0.05; done; ! pgrep -x sleep")
        .await;
    assert_eq!(exit_code, 0);
    server.end().await;
}

#[tokio::test]
async fn shells_find_the_prebuilds_tools_first() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    client
        .execute(&id, "printf '#!/bin/sh\\necho ours\\n' > ~/.harvest/bin/node; chmod +x ~/.harvest/bin/node")
        .await;
    assert_eq!(client.execute(&id, "node").await.1, "ours\n");
    assert_eq!(client.execute(&id, "bash -lc node </dev/null").await.1, "ours\n");
    assert_eq!(
        client.execute(&id, "echo $PATH").await.1,
        "/home/harvest/.harvest/bin:/usr/local/bin:/usr/bin:/bin\n"
    );
    server.end().await;
}

#[tokio::test]
async fn background_processes_and_left_calls_go_on() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    client.execute(&id, "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! > /tmp/pid").await;
    assert_eq!(client.execute(&id, "kill -0 $(cat /tmp/pid) && echo alive").await.1, "alive\n");

    // The client gives up; the command must not.
    let url = format!("{}/toolbox/{id}/process/execute", client.base);
    let command = json!({ "command": "touch /tmp/begun; sleep 1; touch /tmp/done" });
    let left = client
        .http
        .post(url)
        .bearer_auth(crate::support::KEY)
        .json(&command)
        .timeout(Duration::from_millis(500));
    assert!(left.send().await.is_err());
    let (exit_code, _) = client
        .execute(&id, "for i in $(seq 100); do [ -e /tmp/done ] && exit 0; sleep 0.1; done; exit 1")
        .await;
    assert_eq!(exit_code, 0);

    // A child that keeps stdout holds the call.
    let before = Instant::now();
    client.execute(&id, "sleep 1 & echo").await;
    assert!(before.elapsed() >= Duration::from_secs(1));
    server.end().await;
}

#[tokio::test]
async fn a_session_keeps_its_shell_and_dies_of_exit() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let sessions = format!("/toolbox/{id}/process/session");
    assert_eq!(client.post(&sessions, &json!({ "sessionId": "s" })).await.0, StatusCode::CREATED);
    assert_eq!(client.post(&sessions, &json!({ "sessionId": "s" })).await.0, StatusCode::CONFLICT);
    assert_eq!(
        client.post(&sessions, &json!({ "sessionId": "entrypoint" })).await.0,
        StatusCode::BAD_REQUEST
    );

    let exec = format!("{sessions}/s/exec");
    client.post(&exec, &json!({ "command": "cd /workspace; X=5" })).await;
    let (_, done) = client.post(&exec, &json!({ "command": "pwd; echo $X; echo bad >&2; (exit 4)" })).await;
    assert_eq!(
        (&done["exitCode"], &done["stdout"], &done["stderr"]),
        (&json!(4), &json!("/workspace\n5\n"), &json!("bad\n"))
    );

    let (status, begun) =
        client.post(&exec, &json!({ "command": "read line; echo got $line", "runAsync": true })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let command = format!("{sessions}/s/command/{}", begun["cmdId"].as_str().unwrap());
    assert_eq!(client.get(&command).await.1.get("exitCode"), None);
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.post(&format!("{command}/input"), &json!({ "data": "it\n" })).await.0
        != StatusCode::NO_CONTENT
    {
        assert!(Instant::now() < deadline, "the command's input never opened");
    }
    client.eventually(&command, |_, shown| shown["exitCode"] == 0).await;
    assert_eq!(client.get(&format!("{command}/logs")).await.1, Value::String("got it\n".to_owned()));

    let (_, last) = client.post(&exec, &json!({ "command": "exit 1", "runAsync": true })).await;
    let command = format!("{sessions}/s/command/{}", last["cmdId"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.post(&exec, &json!({ "command": "true", "runAsync": true })).await.0 != StatusCode::GONE {
        assert!(Instant::now() < deadline, "the session outlived its exit");
    }
    assert_eq!(client.get(&command).await.1.get("exitCode"), None);
    assert_eq!(client.delete(&format!("{sessions}/s")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&format!("{sessions}/s")).await.0, StatusCode::NOT_FOUND);
    server.end().await;
}
