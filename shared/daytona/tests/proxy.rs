//! What the toolbox's proxy refuses means nothing before Daytona's API has said the same.

#![allow(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

mod support;

use std::time::Duration;

use daytona::{Error, ErrorKind, Execute, ExecuteError, Toolbox, Upload};
use serde_json::json;
use support::{Fake, Reply, json_reply, raw, refusal, sandbox, sandbox_json};

const KEY: &str = "GET /api-keys/current";
const SANDBOX: &str = "GET /sandbox/s1";
const EXECUTE: &str = "POST /toolbox/s1/process/execute";
const UPLOAD: &str = "POST /toolbox/s1/files/bulk-upload";
const DOWNLOAD: &str = "GET /toolbox/s1/files/download";
const VERSION: &str = "GET /toolbox/s1/version";

/// As the proxy says it while the API is down and its own cache is empty.
const REFUSED: &str = "Bearer token validation error: connect: connection refused";

async fn started() -> (Fake, Toolbox) {
    let fake = Fake::start().await;
    let mut row = sandbox_json("s1", "started");
    row["toolboxProxyUrl"] = json!(fake.url("/toolbox").as_str());
    fake.on(SANDBOX, [json_reply(200, &row)]);
    fake.on(KEY, [json_reply(200, &json!({ "name": "fleet", "permissions": [] }))]);
    let toolbox =
        fake.client().toolbox(&fake.client().get_sandbox("s1").await.unwrap().unwrap()).await.unwrap();
    (fake, toolbox)
}

async fn execute(toolbox: &Toolbox) -> ExecuteError {
    toolbox.execute(&Execute::new("true", Duration::from_secs(5))).await.unwrap_err()
}

#[tokio::test]
async fn what_the_api_contradicts_is_the_proxys_bad_minute() {
    let (fake, toolbox) = started().await;
    let refusals = [
        refusal(401, REFUSED),
        raw(401, ""),
        refusal(404, "container not found"),
        refusal(400, "bad request: no IP address found. Is the Sandbox started?"),
    ];
    for reply in refusals {
        for endpoint in [EXECUTE, UPLOAD, DOWNLOAD, VERSION] {
            fake.on(endpoint, [reply.clone()]);
        }
        let is_passing = |error: &Error| {
            assert!(matches!(error, Error::Contradicted { .. }), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        };
        let error = execute(&toolbox).await;
        let ExecuteError::Call(error) = error else { panic!("{error:?}") };
        is_passing(&error);
        let file = Upload { path: "/x".to_owned(), content: vec![] };
        is_passing(&toolbox.upload(&[file]).await.unwrap_err());
        is_passing(&toolbox.download("/x", 9).await.unwrap_err());
    }
    // The API was asked once for each refusal, and never about the key.
    assert_eq!((fake.count(KEY), fake.count(SANDBOX)), (0, 1 + 3 * 4));
    // Who is at work again answers.
    fake.on(EXECUTE, [json_reply(200, &json!({ "exitCode": 0, "result": "" }))]);
    assert_eq!(toolbox.execute(&Execute::new("true", Duration::from_secs(5))).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn a_key_is_bad_when_the_api_says_so() {
    // A client of its own each time: one whose key was refused sends nothing more.
    let kind_if_the_key_is = async |reply: Reply| {
        let (fake, toolbox) = started().await;
        fake.on(EXECUTE, [refusal(401, REFUSED)]);
        for route in [KEY, SANDBOX] {
            fake.on(route, [reply.clone()]);
        }
        let error = execute(&toolbox).await;
        let ExecuteError::Call(error) = error else { panic!("{error:?}") };
        error.kind()
    };
    assert_eq!(kind_if_the_key_is(refusal(401, "Invalid credentials")).await, ErrorKind::Unauthorized);
    assert_eq!(kind_if_the_key_is(raw(502, "")).await, ErrorKind::Unavailable, "the API is away itself");
    let limited = refusal(429, "Too Many Requests").header("retry-after", "900");
    assert_eq!(kind_if_the_key_is(limited).await, ErrorKind::RateLimited);
}

#[tokio::test]
async fn a_sandbox_is_gone_or_stopped_when_the_api_says_so() {
    let (fake, toolbox) = started().await;
    for reply in [refusal(401, "Sandbox not found"), refusal(404, "container not found")] {
        fake.on(EXECUTE, [reply]);
        fake.on(SANDBOX, [refusal(404, "Sandbox with ID or name s1 not found")]);
        assert!(matches!(execute(&toolbox).await, ExecuteError::Gone(_)));
        fake.on(SANDBOX, [sandbox("s1", "destroying")]);
        assert!(matches!(execute(&toolbox).await, ExecuteError::Gone(_)));
        for state in ["stopped", "error", "archived"] {
            fake.on(SANDBOX, [sandbox("s1", state)]);
            assert!(matches!(execute(&toolbox).await, ExecuteError::NotRunning(_)), "{state}");
        }
        for state in ["snapshotting", "starting", "a_new_state"] {
            fake.on(SANDBOX, [sandbox("s1", state)]);
            assert!(matches!(execute(&toolbox).await, ExecuteError::Call(Error::Contradicted { .. })));
        }
    }
}

#[tokio::test]
async fn a_file_is_absent_when_the_toolbox_answers_otherwise() {
    let (fake, toolbox) = started().await;
    fake.on(DOWNLOAD, [refusal(404, "stat /x: no such file or directory")]);
    fake.on(VERSION, [json_reply(200, &json!({ "version": "v0.190.0" }))]);
    assert_eq!(toolbox.download("/x", 9).await.unwrap(), None);
    fake.on(VERSION, [refusal(404, "container not found")]);
    assert!(matches!(toolbox.download("/x", 9).await, Err(Error::Contradicted { .. })));
    fake.on(SANDBOX, [refusal(404, "Sandbox with ID or name s1 not found")]);
    assert_eq!(toolbox.download("/x", 9).await.unwrap_err().kind(), ErrorKind::NotFound);
}
