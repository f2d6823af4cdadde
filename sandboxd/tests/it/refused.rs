//! Whom Daytona refuses and how: keys where only people may, addresses that failed too often, the toolbox's proxy, regions.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sandboxd::{ApiKey, DEFAULT_ORGANIZATION, FailedAuthentications};
use serde_json::{Value, json};

use crate::support::{Client, KEY, Server};

/// An answer to somebody at this address.
async fn ask(client: &Client, key: &str, from: &str, path: &str) -> (StatusCode, Option<String>, Value) {
    let request = client.http.request(Method::GET, format!("{}{path}", client.base));
    let answer = request.bearer_auth(key).header("x-forwarded-for", from).send().await.unwrap();
    let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (answer.status(), after, answer.json().await.unwrap())
}

fn usage() -> String {
    format!("/api/organizations/{DEFAULT_ORGANIZATION}/usage")
}

#[tokio::test]
async fn usage_is_for_people_and_a_key_that_asks_has_failed() {
    let server = Server::start_with(|settings| {
        settings.api_keys.push(ApiKey::logged_in("a-jwt"));
        settings.failed_authentications =
            Some(FailedAuthentications { limit: 3, period: Duration::from_mins(15) });
    })
    .await;
    let client = &server.client;
    let (status, _, usage_of_a_person) = ask(client, "a-jwt", "10.0.0.1", &usage()).await;
    assert_eq!((status, &usage_of_a_person["currentSnapshotUsage"]), (StatusCode::OK, &json!(0)));

    for _ in 0..2 {
        let (status, after, refusal) = ask(client, KEY, "10.0.0.1", &usage()).await;
        assert_eq!((status, after), (StatusCode::UNAUTHORIZED, None));
        assert_eq!(refusal["message"], "Invalid credentials");
        assert_eq!(ask(client, KEY, "10.0.0.1", "/api/sandbox").await.0, StatusCode::OK);
    }
    let locked = |(status, after, refusal): (StatusCode, Option<String>, Value)| {
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{refusal}");
        assert_eq!(refusal["message"], "ThrottlerException: Too Many Requests");
        let after: u64 = after.expect("the plain header").parse().unwrap();
        assert!((890..=900).contains(&after), "{after}");
    };
    locked(ask(client, KEY, "10.0.0.1", &usage()).await);
    for path in ["/api/sandbox", "/api/snapshots", "/api/api-keys/current", "/api/config"] {
        locked(ask(client, KEY, "10.0.0.1", path).await);
    }
    assert_eq!(ask(client, KEY, "10.0.0.2", "/api/sandbox").await.0, StatusCode::OK);
    server.end().await;
}

#[tokio::test]
async fn wrong_keys_lock_an_address_out() {
    let period = Duration::from_mins(15);
    let server = Server::start_with(|settings| {
        settings.failed_authentications = Some(FailedAuthentications { limit: 2, period });
    })
    .await;
    let client = &server.client;
    let known = client.sandbox(&json!({})).await;
    let unknown = client.sandbox(&json!({})).await;
    let version = |sandbox: &str| format!("/toolbox/{sandbox}/version");
    assert_eq!(ask(client, KEY, "10.0.0.1", &version(&known)).await.0, StatusCode::OK);

    // The proxy asks in the name of whoever asks it, so that its refusals count too.
    // What it was told a moment ago it does not ask again.
    for _ in 0..3 {
        assert_eq!(ask(client, "wrong", "10.0.0.1", &version(&known)).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask(client, "wrong", "10.0.0.1", "/api/sandbox").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(client, KEY, "10.0.0.1", "/api/sandbox").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(client, KEY, "10.0.0.1", &version(&known)).await.0, StatusCode::OK);
    let (status, _, refusal) = ask(client, KEY, "10.0.0.1", &version(&unknown)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(refusal["message"].as_str().unwrap().contains("Bearer token validation error"), "{refusal}");

    server.end().await;
}

#[tokio::test]
async fn a_lock_ends() {
    let server = Server::start_with(|settings| {
        settings.failed_authentications =
            Some(FailedAuthentications { limit: 1, period: Duration::from_millis(300) });
    })
    .await;
    let client = &server.client;
    let (status, _, _) = ask(client, "wrong", "10.0.0.1", "/api/sandbox").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while ask(client, KEY, "10.0.0.1", "/api/sandbox").await.0 != StatusCode::OK {
        assert!(std::time::Instant::now() < deadline, "locked out for ever");
        tokio::task::yield_now().await;
    }
    server.end().await;
}

#[tokio::test]
async fn the_proxy_says_401_to_what_it_does_not_know() {
    let server = Server::start_with(|settings| settings.access_cache = Duration::from_mins(2)).await;
    let client = &server.client;
    let id = client.sandbox(&json!({ "name": "named" })).await;
    for sandbox in ["named", "00000000-0000-4000-8000-0000000000ff"] {
        let (status, refusal) = client.get(&format!("/toolbox/{sandbox}/version")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{refusal}");
        assert_eq!(refusal["message"], "unauthorized: authentication failed: Bearer token is invalid");
        assert_eq!(refusal["code"], "UNAUTHORIZED");
    }
    let version = format!("/toolbox/{id}/version");
    assert_eq!(client.get(&version).await.0, StatusCode::OK);

    let down = json!({ "match": { "path_pattern": "/toolbox/**" }, "times": 2, "action": { "kind": "proxy_cannot_ask" } });
    assert_eq!(client.post("/faults", &down).await.0, StatusCode::CREATED);
    for _ in 0..2 {
        let (status, refusal) = client.get(&version).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let message = refusal["message"].as_str().unwrap();
        assert!(
            message.contains("Bearer token validation error") && message.ends_with("connection refused"),
            "{message}"
        );
    }
    assert_eq!(client.get(&version).await.0, StatusCode::OK);

    client.delete("/api/sandbox/named").await;
    client.gone(&format!("/api/sandbox/{id}")).await;
    let (status, refusal) = client.get(&version).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the proxy remembers its yes: {refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("sandbox container not found"), "{refusal}");
    assert_eq!(client.delete("/faults/access").await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&version).await.0, StatusCode::UNAUTHORIZED);
    server.end().await;
}

#[tokio::test]
async fn a_region_that_is_not_there_is_the_first_thing_refused() {
    let server = Server::start().await;
    let client = &server.client;
    let (status, refusal) =
        client.post("/api/sandbox", &json!({ "target": "mars", "snapshot": "none" })).await;
    assert_eq!(
        (status, refusal["message"].as_str()),
        (StatusCode::NOT_FOUND, Some("Region not found")),
        "{refusal}"
    );
    for target in [json!("local"), json!(" local "), json!(""), Value::Null] {
        client.sandbox(&json!({ "target": target })).await;
    }
    server.end().await;
}
