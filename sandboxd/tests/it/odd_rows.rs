//! What Daytona stores without looking at it, and lists that hold other people's.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn labels_come_back_as_they_came() {
    let server = Server::start().await;
    let client = &server.client;
    let odd = json!({ "a": 1, "b": null, "c": { "d": ["e"] }, "f": true, "g": "text" });
    let id = client.sandbox(&json!({ "labels": odd })).await;
    let path = format!("/api/sandbox/{id}");
    assert_eq!(client.get(&path).await.1["labels"], odd);
    assert_eq!(client.get("/api/sandbox?labels=%7B%22a%22%3A1%7D").await.1["items"][0]["labels"], odd);
    assert_eq!(client.get("/api/sandbox?labels=%7B%22a%22%3A%221%22%7D").await.1["items"], json!([]));

    for labels in [json!({ "x": [1] }), json!([1]), json!("text"), json!(7)] {
        let body = json!({ "labels": labels });
        let (status, row) = client.call(Method::PUT, &format!("{path}/labels"), &body).await;
        assert_eq!(
            (status, row["id"].as_str(), &row["labels"]),
            (StatusCode::OK, Some(id.as_str()), &labels)
        );
    }
    let (status, refusal) = client.post("/api/sandbox", &json!({ "labels": [1] })).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::BAD_REQUEST, Some("labels must be an object"))
    );
    server.end().await;
}

#[tokio::test]
async fn a_list_refuses_what_daytona_does() {
    let server = Server::start().await;
    let client = &server.client;
    let (status, refusal) = client.get("/api/sandbox?states=bogus").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refusal["message"].as_str().unwrap().starts_with("each value must be one of"), "{refusal}");
    assert_eq!(client.get("/api/sandbox?states=started&states=archived").await.0, StatusCode::OK);
    let (status, refusal) = client.get("/api/sandbox?labels=%5B1%5D").await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, Some("An unexpected error occurred."))
    );
    assert_eq!(client.get("/api/sandbox?labels=%7B").await.0, StatusCode::BAD_REQUEST);
    server.end().await;
}

#[tokio::test]
async fn rows_of_others_are_listed_as_they_were_planted() {
    let server = Server::start().await;
    let client = &server.client;
    let sandbox = json!({ "id": "x", "name": "Foreign", "labels": { "fleet": "f", "n": 1 }, "cpu": 1.5, "state": "melting" });
    let snapshot = json!({ "id": "y", "name": "hv.odd", "state": null, "size": "big" });
    for (kind, row) in [("sandbox", &sandbox), ("snapshot", &snapshot)] {
        let planted = client.post("/faults/rows", &json!({ "kind": kind, "row": row })).await;
        assert_eq!(planted.0, StatusCode::CREATED, "{}", planted.1);
    }
    for list in ["/api/sandbox", "/api/sandbox?labels=%7B%22fleet%22%3A%22f%22%7D", "/api/sandbox?name=for"] {
        assert_eq!(client.get(list).await.1["items"], json!([sandbox]), "{list}");
    }
    assert_eq!(client.get("/api/sandbox?labels=%7B%22fleet%22%3A%22g%22%7D").await.1["items"], json!([]));
    assert_eq!(client.get("/api/snapshots?name=hv.").await.1["items"], json!([snapshot]));
    assert_eq!(client.get("/api/sandbox/x").await.1, sandbox);
    assert_eq!(client.get("/api/snapshots/hv.odd").await.1, snapshot);
    assert_eq!(client.delete("/api/sandbox/x").await.0, StatusCode::OK);
    assert_eq!(client.delete("/faults/rows").await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.get("/api/snapshots?name=hv.").await.1["items"], json!([]));
    assert_eq!(client.get("/api/sandbox/x").await.1["statusCode"], Value::from(404));
    server.end().await;
}

#[tokio::test]
async fn a_file_of_another_user_can_not_be_removed() {
    // Only root can give a file away.
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        return;
    }
    let server = Server::start_with(|settings| settings.foreign_files = vec!["of-root".to_owned()]).await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let tried = "touch /tmp/mine && rm /tmp/mine; rm -f /tmp/of-root 2>/dev/null; cat /tmp/of-root";
    assert_eq!(client.execute(&id, tried).await, (0, "of another user\n".to_owned()));
    client.snapshot(&id, "kept").await;
    let again = client.sandbox(&json!({ "snapshot": "kept" })).await;
    assert_eq!(client.execute(&again, tried).await, (0, "of another user\n".to_owned()));
    server.end().await;
}
