//! A key that the API refuses is used no more; that one of its routes refuses it says nothing of the key.

#![allow(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

mod support;

use daytona::ErrorKind;
use serde_json::json;
use support::{Fake, Reply, json_reply, refusal};

const WHOAMI: &str = "GET /api-keys/current";
const ROUTE: &str = "GET /sandbox/x";

/// What a route's 401 comes to where the question about the key is answered so, and whether calls are sent afterwards.
async fn after_401(whoami: Reply) -> (ErrorKind, bool) {
    let fake = Fake::start().await;
    fake.on(ROUTE, [refusal(401, "Invalid credentials")]).on(WHOAMI, [whoami]);
    let client = fake.client();
    let kind = client.get_sandbox("x").await.unwrap_err().kind();
    let before = fake.count(ROUTE);
    let next = client.get_sandbox("x").await;
    assert!(next.is_err());
    (kind, fake.count(ROUTE) > before)
}

#[tokio::test]
async fn only_the_route_about_the_key_says_that_it_is_bad() {
    let key = json_reply(200, &json!({ "name": "fleet", "permissions": [] }));
    assert_eq!(after_401(key).await, (ErrorKind::Forbidden, true), "the route is not for keys");
    assert_eq!(after_401(refusal(401, "Invalid credentials")).await, (ErrorKind::Unauthorized, false));
    assert_eq!(after_401(refusal(503, "down")).await, (ErrorKind::Unavailable, true), "nothing is known");
    assert_eq!(after_401(refusal(429, "slow")).await, (ErrorKind::Unavailable, true), "nothing is known");
}

#[tokio::test]
async fn a_refused_key_is_sent_again_once_it_is_taken() {
    let fake = Fake::start().await;
    let key = json!({ "name": "fleet", "permissions": [] });
    fake.on(WHOAMI, [refusal(401, "Invalid credentials"), refusal(503, "down"), json_reply(200, &key)]);
    let client = fake.client();
    assert_eq!(client.whoami().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    let not_sent = client.get_sandbox("x").await.unwrap_err();
    assert!(not_sent.to_string().contains("not sent"), "{not_sent}");
    assert_eq!(fake.requests().len(), 1, "one question, and nothing else");
    assert_eq!(client.clone().ask_about_key().await.map(|key| key.name).unwrap(), "fleet");
    assert!(!client.key().is_refused());
}
