//! States, names, refusals.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sandboxd::{ApiKey, Permission, Quotas};
use serde_json::{Value, json};

use crate::support::{KEY, Server};

#[tokio::test]
async fn a_sandbox_lives_and_its_name_is_free_at_once() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({ "name": "one", "labels": { "a": "b" } })).await;

    let (status, refusal) = client.post("/api/sandbox", &json!({ "name": "one" })).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::CONFLICT, Some("Sandbox with name one already exists"))
    );

    let (_, list) = client.get("/api/sandbox?labels=%7B%22a%22%3A%22b%22%7D").await;
    assert_eq!((list["items"][0]["id"].as_str(), &list["nextCursor"]), (Some(id.as_str()), &Value::Null));
    assert!(list["items"][0].get("env").is_none(), "{list}");
    let (_, none) = client.get("/api/sandbox?labels=%7B%22a%22%3A%22c%22%7D").await;
    assert_eq!(none["items"], json!([]));

    let (status, row) = client.delete("/api/sandbox/one").await;
    assert_eq!((status, row["state"].as_str()), (StatusCode::OK, Some("destroying")));
    let again = client.sandbox(&json!({ "name": "one" })).await;
    assert_ne!(again, id);
    client.gone(&format!("/api/sandbox/{id}")).await;
    server.end().await;
}

#[tokio::test]
async fn a_toolbox_is_where_clients_reach_the_server() {
    let server =
        Server::start_with(|settings| settings.public_url = Some("http://sandboxd:3986/".into())).await;
    let (_, row) = server.client.post("/api/sandbox", &json!({ "name": "one" })).await;
    assert_eq!(row["toolboxProxyUrl"], "http://sandboxd:3986/toolbox");
    server.end().await;

    let server = Server::start().await;
    let (_, row) = server.client.post("/api/sandbox", &json!({ "name": "one" })).await;
    assert_eq!(row["toolboxProxyUrl"], format!("{}/toolbox", server.client.base));
    server.end().await;
}

#[tokio::test]
async fn a_list_is_complete_over_its_pages() {
    let server = Server::start().await;
    let client = &server.client;
    for number in 0..5 {
        client.sandbox(&json!({ "name": format!("n{number}") })).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = client.get(&format!("/api/sandbox?limit=2&sort=createdAt&order=asc{cursor}")).await;
        names.extend(
            page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    names.sort();
    assert_eq!(names, ["n0", "n1", "n2", "n3", "n4"]);
    server.end().await;
}

#[tokio::test]
async fn stop_keeps_files_and_an_ephemeral_stop_deletes() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    client.execute(&id, "echo kept > /workspace/file").await;
    client.post(&format!("/api/sandbox/{id}/stop"), &Value::Null).await;
    client.reaches(&id, "stopped").await;
    let (status, refusal) =
        client.post(&format!("/toolbox/{id}/process/execute"), &json!({ "command": "true" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refusal["message"], "bad request: no IP address found. Is the Sandbox started?");
    client.post(&format!("/api/sandbox/{id}/start"), &Value::Null).await;
    client.reaches(&id, "started").await;
    assert_eq!(client.execute(&id, "cat /workspace/file").await, (0, "kept\n".to_owned()));

    client.post(&format!("/api/sandbox/{id}/autodelete/0"), &Value::Null).await;
    client.post(&format!("/api/sandbox/{id}/stop"), &Value::Null).await;
    client.gone(&format!("/api/sandbox/{id}")).await;
    server.end().await;
}

#[tokio::test]
async fn an_idle_sandbox_and_one_past_its_ttl_go() {
    let server = Server::start_with(|settings| settings.minute = Duration::from_millis(300)).await;
    let client = &server.client;
    let idle = client.sandbox(&json!({ "autoStopInterval": 1, "autoDeleteInterval": 0 })).await;
    let old = client.sandbox(&json!({ "autoStopInterval": 0, "ttlMinutes": 2 })).await;
    client.gone(&format!("/api/sandbox/{idle}")).await;
    client.gone(&format!("/api/sandbox/{old}")).await;
    server.end().await;
}

#[tokio::test]
async fn refusals_have_daytonas_words() {
    let server =
        Server::start_with(|settings| settings.quotas = Quotas { cpu: 2, snapshots: 0, ..Quotas::default() })
            .await;
    let client = &server.client;
    let check = async |wish: Value, expected: &str| {
        let (status, refusal) = client.post("/api/sandbox", &wish).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refusal}");
        assert!(refusal["message"].as_str().unwrap().starts_with(expected), "{refusal}");
    };
    check(
        json!({ "snapshot": "no" }),
        "Snapshot no not found. Did you add it through the Daytona Dashboard?",
    )
    .await;
    check(json!({ "cpu": 1 }), "Cannot specify Sandbox resources when using a snapshot").await;
    check(json!({ "autoStopInterval": -1 }), "Auto-stop interval").await;
    let id = client.sandbox(&json!({})).await;
    check(json!({}), "Total CPU limit exceeded. Maximum allowed: 2.\nTo increase concurrency limits, ").await;
    let (status, refusal) =
        client.post(&format!("/api/sandbox/{id}/snapshot"), &json!({ "name": "x" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refusal["message"], "Snapshot quota exceeded. Maximum allowed: 0");
    server.end().await;
}

#[tokio::test]
async fn keys_are_needed_bound_and_limited() {
    let server = Server::start_with(|settings| {
        let mut reader = ApiKey::full("reader");
        reader.permissions = [Permission::DeleteSandboxes].into();
        let mut other = ApiKey::full("other");
        other.organization = "another".to_owned();
        settings.api_keys.extend([reader, other]);
    })
    .await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let ask = async |key: &str, method: Method, path: String| {
        let request = client.http.request(method, format!("{}{path}", client.base)).bearer_auth(key);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap()["message"].as_str().map(str::to_owned))
    };
    let (status, message) = ask("wrong", Method::GET, "/api/sandbox".to_owned()).await;
    assert_eq!((status, message.as_deref()), (StatusCode::UNAUTHORIZED, Some("Invalid credentials")));
    let (status, _) = ask("wrong", Method::GET, format!("/toolbox/{id}/version")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, message) = ask("reader", Method::POST, "/api/sandbox".to_owned()).await;
    assert_eq!((status, message.as_deref()), (StatusCode::FORBIDDEN, Some("Access denied")));
    let (status, _) = ask("other", Method::GET, format!("/api/sandbox/{id}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = ask("other", Method::GET, format!("/toolbox/{id}/version")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the proxy doesn't tell an unknown sandbox from a bad key");
    let (status, _) = ask(KEY, Method::GET, format!("/toolbox/{id}/version")).await;
    assert_eq!(status, StatusCode::OK);
    server.end().await;
}
