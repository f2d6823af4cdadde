//! Which snapshot found under the name is the one this capture made.

use super::*;

fn check(change: &serde_json::Value, expected: &str) {
    let mut json = serde_json::json!({
        "id": "n1", "name": "p", "state": "active", "createdAt": "2026-03-01T10:00:30Z", "sourceSandboxId": "s1"
    });
    for (key, value) in change.as_object().unwrap() {
        json[key] = value.clone();
    }
    let snapshot: Snapshot = serde_json::from_value(json).unwrap();
    let began = "2026-03-01T10:00:00Z".parse().unwrap();
    let verdict = judge(&snapshot, &SandboxId::new("s1"), "p", began, Duration::from_mins(1));
    let verdict = match verdict {
        Verdict::Ready => "ready",
        Verdict::Wait => "wait",
        Verdict::Foreign => "foreign",
        Verdict::Failed => "failed",
    };
    assert_eq!(verdict, expected, "{change}");
}

#[test]
fn only_a_snapshot_made_since_from_this_sandbox_counts() {
    check(&serde_json::json!({}), "ready");
    check(&serde_json::json!({ "sourceSandboxId": null }), "ready");
    check(&serde_json::json!({ "createdAt": "2026-03-01T09:59:01Z" }), "ready");
    check(&serde_json::json!({ "createdAt": "2026-03-01T09:58:59Z" }), "foreign");
    check(&serde_json::json!({ "createdAt": null }), "foreign");
    check(&serde_json::json!({ "sourceSandboxId": "s2" }), "foreign");
    check(&serde_json::json!({ "general": true }), "foreign");
    check(&serde_json::json!({ "name": "P" }), "foreign");
}

#[test]
fn only_an_active_one_is_ready() {
    for state in ["snapshotting", "pending", "pulling", "building", "a_new_state"] {
        check(&serde_json::json!({ "state": state }), "wait");
    }
    for state in ["error", "build_failed", "removing", "inactive"] {
        check(&serde_json::json!({ "state": state }), "failed");
    }
}
