//! What a snapshot holds, and that nothing done later changes it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn a_snapshot_holds_the_tree_and_stands_alone() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({ "env": { "BAKED": "yes" } })).await;
    let make = "echo 1 > /workspace/a; mkdir -p ~/d/e /workspace/gone; ln -s a /workspace/l; echo x > ~/d/e/x; chmod 500 ~/d/e; \
                chmod 640 /workspace/a; echo t > /tmp/t; echo v > /var/tmp/v";
    client.execute(&id, make).await;
    let first = client.snapshot(&id, "first").await;
    client.execute(&id, "echo 2 > /workspace/a; rm -r /workspace/gone").await;

    let child = client.sandbox(&json!({ "snapshot": first })).await;
    let look = "cat /workspace/a ~/d/e/x /tmp/t /var/tmp/v; readlink /workspace/l; stat -c '%a %U' /workspace/a ~/d/e; ls -d /workspace/gone; echo $BAKED";
    let expected = "1\nx\nt\nv\na\n640 harvest\n500 harvest\n/workspace/gone\nyes\n";
    assert_eq!(client.execute(&child, look).await.1, expected);

    // A renamed directory of the parent, a deleted file: the overlay's hard cases.
    client.execute(&child, "mv ~/d ~/moved; rm /workspace/a; echo b > /workspace/b").await;
    let second = client.snapshot(&child, "second").await;
    assert_eq!(client.delete(&format!("/api/snapshots/{first}")).await.0, StatusCode::OK);
    client.gone(&format!("/api/snapshots/{first}")).await;
    assert_eq!(client.execute(&child, "cat ~/moved/e/x; ls /workspace").await.1, "x\nb\ngone\nl\n");
    client.delete(&format!("/api/sandbox/{child}")).await;
    client.gone(&format!("/api/sandbox/{child}")).await;

    let grandchild = client.sandbox(&json!({ "snapshot": second })).await;
    assert_eq!(client.execute(&grandchild, "cat ~/moved/e/x; ls /workspace").await.1, "x\nb\ngone\nl\n");
    server.removes(&server.data.path().join("snapshots").join(&first)).await;
    server.end().await;
}

#[tokio::test]
async fn the_servers_settings_reach_a_sandbox_but_no_snapshot() {
    let data = tempfile::tempdir().unwrap();
    let npmrc = data.path().join("npmrc");
    std::fs::write(&npmrc, "registry=http://registry.invalid/marker/\n").unwrap();
    let server = Server::start_with(|settings| {
        settings.npm_user_config = Some(npmrc);
        settings.environment.insert("PASSED".to_owned(), "marker-of-env".to_owned());
    })
    .await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let (_, seen) = client.execute(&id, "cat $NPM_CONFIG_USERCONFIG; echo $PASSED").await;
    assert_eq!(seen, "registry=http://registry.invalid/marker/\nmarker-of-env\n");
    let snapshot = client.snapshot(&id, "clean").await;
    let captured = server.data.path().join("snapshots").join(snapshot);
    let output = std::process::Command::new("grep").args(["-r", "marker"]).arg(captured).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    server.end().await;
}

#[tokio::test]
async fn names_are_unique_and_sleep_is_refused() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let snapshot = client.snapshot(&id, "taken").await;
    let (status, _) = client.post(&format!("/api/sandbox/{id}/snapshot"), &json!({ "name": "taken" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let turn = async |verb: &str| {
        client.call(Method::POST, &format!("/api/snapshots/{snapshot}/{verb}"), &Value::Null).await.0
    };
    assert_eq!(turn("deactivate").await, StatusCode::NO_CONTENT);
    let (status, refusal) = client.post("/api/sandbox", &json!({ "snapshot": "taken" })).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::BAD_REQUEST, Some("Snapshot taken is inactive"))
    );
    assert_eq!(client.delete("/api/snapshots/taken").await.0, StatusCode::BAD_REQUEST);
    server.end().await;
}
