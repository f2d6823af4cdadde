//! Waits: each ends in a named way, within its deadline, and never on a guess.

mod support;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use daytona::{
    Backoff, CaptureError, CaptureLimits, DeleteError, Error, ErrorKind, RestartError, SandboxId,
    SandboxState, Snapshot, SnapshotId, StartError,
};
use serde_json::{Value, json};
use support::{Fake, Reply, json_reply, raw, refusal, sandbox, snapshot};
use tokio::time::Instant;

const FAST: Backoff = Backoff::constant(Duration::from_millis(2), 1.2, Duration::from_millis(5));
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(80);
const POST: &str = "POST /sandbox/s1/snapshot";
const GET: &str = "GET /sandbox/s1";
const ROW: &str = "GET /snapshots/p";

fn id() -> SandboxId {
    SandboxId::new("s1")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn shortly() -> Instant {
    Instant::now() + Duration::from_millis(60)
}

fn now() -> String {
    Utc::now().to_rfc3339()
}

/// A capture whose grace ends only where the test is about that.
async fn capture(fake: &Fake, grace: Duration) -> Result<Snapshot, CaptureError> {
    let limits = CaptureLimits { total: Duration::from_secs(40), grace, clock_skew: Duration::from_mins(1) };
    fake.client().capture(&id(), "p", limits).await
}

#[tokio::test]
async fn a_start_is_waited_for_over_outages_and_unknown_states() {
    let fake = Fake::start().await;
    fake.on(
        GET,
        [
            sandbox("s1", "creating"),
            sandbox("s1", "a_new_state"),
            raw(502, ""),
            sandbox("s1", "starting"),
            sandbox("s1", "started"),
        ],
    );
    let started = fake.client().wait_until_started(&id(), soon(), FAST).await.unwrap();
    assert_eq!((started.state, fake.count(GET)), (SandboxState::Started, 5));
}

#[tokio::test]
async fn a_start_that_fails_says_how() {
    let fake = Fake::start().await;
    let client = fake.client();
    fake.on(GET, [sandbox("s1", "error")]);
    let failed = client.wait_until_started(&id(), soon(), FAST).await.unwrap_err();
    assert_eq!(failed.to_string(), "the sandbox is error: disk full");
    fake.on(GET, [refusal(404, "not found")]);
    assert!(matches!(client.wait_until_started(&id(), soon(), FAST).await, Err(StartError::Gone)));
    fake.on(GET, [sandbox("s1", "stopped")]);
    assert!(matches!(
        client.wait_until_started(&id(), soon(), FAST).await,
        Err(StartError::NotStarting { .. })
    ));
    let unauthorized = || [refusal(401, "Invalid credentials")];
    fake.on(GET, unauthorized()).on("GET /api-keys/current", unauthorized());
    let refused = client.wait_until_started(&id(), soon(), FAST).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Call(error) if error.kind() == ErrorKind::Unauthorized),
        "{refused}"
    );
    // A client whose key was refused sends nothing more.
    let client = fake.client();
    fake.on(GET, [sandbox("s1", "pulling_snapshot")]);
    let late = client.wait_until_started(&id(), shortly(), FAST).await.unwrap_err();
    assert!(matches!(&late, StartError::TimedOut { last: SandboxState::PullingSnapshot }), "{late}");
}

/// One that no runner has taken.
fn queued(state: &str, timed_out_at: &Value) -> Reply {
    json_reply(
        200,
        &json!({ "id": "s1", "state": state, "queueTimeout": 1, "queueTimedOutAt": timed_out_at }),
    )
}

#[tokio::test]
async fn a_sandbox_no_runner_takes_is_want_of_room() {
    let fake = Fake::start().await;
    let client = fake.client();
    fake.on(
        GET,
        [queued("pulling_snapshot", &Value::Null), queued("destroyed", &json!("2026-11-27T20:00:00Z"))],
    );
    let timed_out = client.wait_until_started(&id(), soon(), FAST).await.unwrap_err();
    assert!(matches!(timed_out, StartError::NoRunner), "{timed_out}");
    for state in ["pulling_snapshot", "pending_build"] {
        fake.on(GET, [queued(state, &Value::Null)]);
        let left = client.wait_until_started(&id(), shortly(), FAST).await.unwrap_err();
        assert!(matches!(left, StartError::NoRunner), "{left}");
    }
    // A time that can't be read says nothing, and being destroyed is being gone.
    fake.on(GET, [queued("destroyed", &json!("soon"))]);
    assert!(matches!(client.wait_until_started(&id(), soon(), FAST).await, Err(StartError::Gone)));
}

#[tokio::test]
async fn a_sandbox_at_rest_is_left_so() {
    let fake = Fake::start().await;
    fake.on("POST /sandbox/s1/autodelete/30", [sandbox("s1", "started")]);
    fake.on("POST /sandbox/s1/stop", [sandbox("s1", "stopping")]);
    fake.on(GET, [sandbox("s1", "started"), sandbox("s1", "stopping"), sandbox("s1", "stopped")]);
    let rested = fake.client().rest_sandbox(&id(), Duration::from_mins(30), soon()).await.unwrap();
    assert_eq!((rested.state, fake.count("POST /sandbox/s1/stop")), (SandboxState::Stopped, 1));
    fake.on(GET, [sandbox("s1", "stopped")]);
    fake.client().rest_sandbox(&id(), Duration::from_mins(30), soon()).await.unwrap();
    assert_eq!(fake.count("POST /sandbox/s1/stop"), 1, "one that rests is not asked again");
}

#[tokio::test]
async fn a_delete_is_asked_again_while_the_sandbox_is_busy() {
    let fake = Fake::start().await;
    let busy = || refusal(409, "Sandbox state change in progress");
    fake.on("DELETE /sandbox/s1", [busy(), busy(), sandbox("s1", "destroying")]);
    fake.on(
        GET,
        [
            sandbox("s1", "starting"),
            sandbox("s1", "started"),
            sandbox("s1", "destroying"),
            refusal(404, "not found"),
        ],
    );
    fake.client().delete_and_confirm(&id(), soon()).await.unwrap();
    assert_eq!((fake.count("DELETE /sandbox/s1"), fake.count(GET)), (3, 4));
}

#[tokio::test]
async fn a_delete_without_effect_is_asked_again_and_has_an_end() {
    let fake = Fake::start().await;
    fake.on("DELETE /sandbox/s1", [sandbox("s1", "started")]);
    fake.on(GET, [sandbox("s1", "started")]);
    let late = fake
        .client()
        .delete_and_confirm(&id(), Instant::now() + Duration::from_millis(500))
        .await
        .unwrap_err();
    assert!(matches!(&late, DeleteError::TimedOut { last } if last == "started"), "{late}");
    assert!(fake.count("DELETE /sandbox/s1") > 1);
    fake.on("DELETE /sandbox/s1", [refusal(404, "not found")]);
    fake.client().delete_and_confirm(&id(), soon()).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_gone_only_when_its_row_is() {
    let fake = Fake::start().await;
    let snapshot = |state: &str| snapshot("p", state, &now(), None);
    fake.on("DELETE /snapshots/p", [raw(200, "")]);
    // A delete in mid-build has no effect.
    fake.on(ROW, [snapshot("pending"), snapshot("active"), snapshot("removing"), refusal(404, "not found")]);
    fake.client().delete_snapshot_and_confirm(&SnapshotId::new("p"), soon()).await.unwrap();
    assert_eq!(fake.count("DELETE /snapshots/p"), 2);
}

#[tokio::test]
async fn a_capture_waits_for_the_row_that_comes_late() {
    let fake = Fake::start().await;
    fake.on(POST, [sandbox("s1", "snapshotting")]);
    fake.on(GET, [sandbox("s1", "snapshotting"), sandbox("s1", "snapshotting"), sandbox("s1", "started")]);
    fake.on(
        ROW,
        [
            refusal(404, "Snapshot p not found"),
            refusal(404, "x"),
            snapshot("p", "snapshotting", &now(), Some("s1")),
            snapshot("p", "active", &now(), Some("s1")),
        ],
    );
    assert_eq!(capture(&fake, LONG).await.unwrap().id.as_str(), "id-p");
    assert_eq!(fake.count(ROW), 4);
}

#[tokio::test]
async fn a_capture_that_fails_in_silence_is_not_success() {
    let fake = Fake::start().await;
    fake.on(POST, [sandbox("s1", "snapshotting")]);
    fake.on(GET, [sandbox("s1", "snapshotting"), sandbox("s1", "started")]);
    fake.on(ROW, [refusal(404, "Snapshot p not found")]);
    let failed = capture(&fake, SHORT).await.unwrap_err();
    assert!(matches!(&failed, CaptureError::SilentFailure { state: SandboxState::Started, .. }), "{failed}");
    assert!(fake.count(ROW) > 1, "the row was given its grace: {} looks", fake.count(ROW));
    assert_eq!(fake.count(POST), 1);
}

#[tokio::test]
async fn a_capture_never_takes_an_older_or_foreign_snapshot() {
    let old = (Utc::now() - TimeDelta::minutes(5)).to_rfc3339();
    for row in [snapshot("p", "active", &old, None), snapshot("p", "active", &now(), Some("s2"))] {
        let fake = Fake::start().await;
        fake.on(POST, [sandbox("s1", "snapshotting")]).on(GET, [sandbox("s1", "started")]).on(ROW, [row]);
        assert!(matches!(capture(&fake, LONG).await, Err(CaptureError::NameTaken)));
    }
}

#[tokio::test]
async fn an_unanswered_capture_is_looked_for_and_never_repeated() {
    for lost in [raw(502, ""), raw(504, "<html></html>"), Reply::Hang] {
        let fake = Fake::start().await;
        let mut settings = fake.settings();
        settings.request_timeout = Duration::from_millis(100);
        let client = daytona::Client::new(settings).unwrap();
        fake.on(POST, [lost]);
        fake.on(GET, [sandbox("s1", "started"), sandbox("s1", "snapshotting"), sandbox("s1", "started")]);
        fake.on(ROW, [refusal(404, "x"), snapshot("p", "active", &now(), None)]);
        client.capture(&id(), "p", CaptureLimits::default()).await.unwrap();
        assert_eq!(fake.count(POST), 1);
    }
    let fake = Fake::start().await;
    fake.on(POST, [raw(502, "")]).on(GET, [sandbox("s1", "started")]).on(ROW, [refusal(404, "x")]);
    assert!(matches!(
        capture(&fake, SHORT).await,
        Err(CaptureError::NotBegun(Error::Refused { status: 502, .. }))
    ));
}

#[tokio::test]
async fn a_capture_refused_by_a_passing_change_is_asked_again() {
    let fake = Fake::start().await;
    fake.on(POST, [refusal(409, "Sandbox was modified by another operation"), sandbox("s1", "snapshotting")]);
    fake.on(GET, [sandbox("s1", "started")]).on(ROW, [snapshot("p", "active", &now(), Some("s1"))]);
    capture(&fake, LONG).await.unwrap();
    assert_eq!(fake.count(POST), 2);
}

#[tokio::test]
async fn a_capture_whose_sandbox_or_snapshot_fails_says_which() {
    let fake = Fake::start().await;
    fake.on(POST, [sandbox("s1", "snapshotting")]).on(ROW, [refusal(404, "x")]);
    fake.on(GET, [sandbox("s1", "snapshotting"), sandbox("s1", "error")]);
    assert!(matches!(capture(&fake, LONG).await, Err(CaptureError::SandboxFailed { .. })));
    fake.on(GET, [refusal(404, "x")]);
    assert!(matches!(capture(&fake, LONG).await, Err(CaptureError::SandboxGone)));
    fake.on(GET, [sandbox("s1", "started")]).on(ROW, [snapshot("p", "error", &now(), Some("s1"))]);
    assert!(matches!(capture(&fake, LONG).await, Err(CaptureError::SnapshotFailed { .. })));
    for (reply, kind) in [
        (refusal(400, "Snapshot quota exceeded. Maximum allowed: 30"), ErrorKind::SnapshotQuota),
        (
            refusal(400, "Sandbox must be in started or stopped state to create a snapshot"),
            ErrorKind::WrongState,
        ),
        (json_reply(422, &serde_json::json!({})), ErrorKind::Unsupported),
    ] {
        fake.on(POST, [reply]);
        let refused = capture(&fake, LONG).await.unwrap_err();
        assert!(matches!(&refused, CaptureError::Call(error) if error.kind() == kind), "{refused}");
    }
}

#[tokio::test]
async fn a_capture_has_an_end() {
    let fake = Fake::start().await;
    fake.on(POST, [sandbox("s1", "snapshotting")]).on(GET, [sandbox("s1", "snapshotting")]);
    let limits = CaptureLimits { total: Duration::from_millis(60), ..CaptureLimits::default() };
    let late = fake.client().capture(&id(), "p", limits).await.unwrap_err();
    assert!(matches!(&late, CaptureError::TimedOut { last: SandboxState::Snapshotting, .. }), "{late}");
}

const STOP: &str = "POST /sandbox/s1/stop";
const START: &str = "POST /sandbox/s1/start";

#[tokio::test]
async fn a_restart_sees_it_stopped_before_it_believes_it_started() {
    let fake = Fake::start().await;
    fake.on("POST /sandbox/s1/autodelete/30", [sandbox("s1", "started")]);
    fake.on("POST /sandbox/s1/autodelete/0", [sandbox("s1", "started")]);
    fake.on(STOP, [refusal(409, "Sandbox state change in progress"), sandbox("s1", "stopping")]);
    fake.on(
        START,
        [refusal(400, "Total CPU limit exceeded. Maximum allowed: 3."), sandbox("s1", "starting")],
    );
    let states = ["started", "started", "stopping", "stopped", "stopped", "starting", "started"];
    fake.on(GET, states.map(|state| sandbox("s1", state)));
    let kept = Duration::from_mins(30);
    let started = fake.client().restart_sandbox(&id(), kept, soon()).await.unwrap();
    assert_eq!((started.state, fake.count(GET)), (SandboxState::Started, 7));
    assert_eq!((fake.count(STOP), fake.count(START)), (2, 2), "asked again where it was refused");
    assert_eq!(fake.count("POST /sandbox/s1/autodelete/0"), 1, "it is deleted when it stops, as before");
}

#[tokio::test]
async fn a_restart_ends_where_the_sandbox_does() {
    for (state, expected) in [
        (refusal(404, "Sandbox with ID or name s1 not found"), "was deleted"),
        (sandbox("s1", "destroying"), "was deleted"),
        (sandbox("s1", "error"), "is error"),
        (sandbox("s1", "stopping"), "last seen stopping"),
    ] {
        let fake = Fake::start().await;
        fake.on("POST /sandbox/s1/autodelete/30", [sandbox("s1", "started")]);
        fake.on(STOP, [sandbox("s1", "stopping")]);
        fake.on(GET, [sandbox("s1", "started"), state]);
        let error: RestartError =
            fake.client().restart_sandbox(&id(), Duration::from_mins(30), shortly()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_capture_that_is_under_way_is_waited_for_in_either_words() {
    for refused in [
        refusal(409, "Sandbox state change in progress"),
        refusal(400, "Sandbox must be in started or stopped state to create a snapshot"),
    ] {
        let fake = Fake::start().await;
        fake.on(POST, [refused]);
        fake.on(
            GET,
            [sandbox("s1", "snapshotting"), sandbox("s1", "snapshotting"), sandbox("s1", "started")],
        );
        fake.on(ROW, [refusal(404, "Snapshot p not found"), snapshot("p", "active", &now(), Some("s1"))]);
        assert_eq!(capture(&fake, LONG).await.unwrap().id.as_str(), "id-p");
        assert_eq!(fake.count(POST), 1, "asked for once");
    }
}
