//! Daytona stores what anybody gives it: a row that is odd, foreign or no row at all fails no list, and hides nobody else's.

#![allow(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use daytona::{Execute, SandboxState, SnapshotState};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use support::{Fake, json_reply, raw, refusal, sandbox_json, snapshot_json};

const SANDBOXES: &str = "GET /sandbox";
const SNAPSHOTS: &str = "GET /snapshots";
const AT: &str = "2026-03-01T10:00:00Z";

/// Any JSON, with words among it that mean something in a row.
fn any_json() -> impl Strategy<Value = Value> {
    static WORDS: &[&str] = &["", "started", "active", "melting", "prod", "hv.prod.", "true", "7", "NaN", AT];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map("[a-z.]{1,9}", inner, 0..5).prop_map(|fields| json!(fields)),
        ]
    })
}

/// A row in which some fields are anything, or absent; or anything in a row's place.
fn odd_row(good: &Value) -> impl Strategy<Value = Value> + use<> {
    let fields: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    let good = good.clone();
    let changes = btree_map(select(fields), prop::option::of(any_json()), 0..8);
    let made_odd = changes.prop_map(move |changes| {
        let mut row = good.clone();
        for (field, change) in changes {
            match change {
                Some(change) => row[field] = change,
                None => drop(row.as_object_mut().unwrap().remove(&field)),
            }
        }
        row
    });
    prop_oneof![3 => made_odd, 1 => any_json()]
}

fn labelled(id: &str) -> Value {
    let mut row = sandbox_json(id, "started");
    row["labels"] = json!({ "fleet": "prod" });
    row
}

fn wanted() -> BTreeMap<String, String> {
    BTreeMap::from([("fleet".to_owned(), "prod".to_owned())])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_row_fails_a_list_or_hides_another(
        sandboxes in vec(odd_row(&labelled("odd")), 0..6),
        snapshots in vec(odd_row(&snapshot_json("odd", "active", AT, None)), 0..6),
        place in 0..6_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::start().await;
            let among = |mut rows: Vec<Value>, good: Value| {
                rows.insert(place.min(rows.len()), good);
                json!({ "items": rows, "nextCursor": null, "totalPages": 1 })
            };
            fake.on(SANDBOXES, [json_reply(200, &among(sandboxes, labelled("good")))]);
            let found = fake.client().list_sandboxes(&wanted()).await;
            // An odd row with the fleet's labels and no id is looked up by its name, which this server has no answer for.
            if let Ok(found) = &found {
                assert!(found.iter().any(|sandbox| sandbox.id.as_str() == "good"), "{found:?}");
            } else {
                assert!(fake.requests().len() > 1, "{found:?}");
            }
            fake.on(SNAPSHOTS, [json_reply(200, &among(snapshots, snapshot_json("good", "active", AT, None)))]);
            let found = fake.client().list_snapshots("").await.unwrap();
            assert!(found.iter().any(|snapshot| snapshot.name == "good"), "{found:?}");
        });
    }

    #[test]
    fn an_odd_row_of_its_own_id_is_never_absent(
        sandbox in odd_row(&labelled("s1")),
        snapshot in odd_row(&snapshot_json("p", "active", AT, None)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::start().await;
            fake.on("GET /sandbox/s1", [json_reply(200, &sandbox)]);
            assert!(!matches!(fake.client().get_sandbox("s1").await, Ok(None)), "{sandbox}");
            fake.on("GET /snapshots/p", [json_reply(200, &snapshot)]);
            assert!(!matches!(fake.client().get_snapshot("p").await, Ok(None)), "{snapshot}");
        });
    }
}

#[tokio::test]
async fn fields_are_read_in_whatever_form_they_come() {
    let fake = Fake::start().await;
    let row = json!({
        "id": "s1", "name": null, "state": null, "labels": { "a": 1, "b": true, "c": null, "d": ["e"], "f": "g" },
        "cpu": "2", "memory": 4.0, "disk": null, "createdAt": 7, "toolboxProxyUrl": {}, "autoStopInterval": "15",
    });
    fake.on("GET /sandbox/s1", [json_reply(200, &row)]);
    let read = fake.client().get_sandbox("s1").await.unwrap().unwrap();
    assert_eq!((read.state, read.name.as_str()), (SandboxState::Unknown, ""));
    let labels: Vec<(&str, &str)> = read.labels.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    assert_eq!(labels, [("a", "1"), ("b", "true"), ("d", r#"["e"]"#), ("f", "g")]);
    assert_eq!((read.cpu, read.memory, read.disk, read.auto_stop_interval), (2.0, 4.0, 0.0, Some(15.0)));
    assert_eq!((read.created_at, read.toolbox_proxy_url), (None, None));
    fake.on("GET /snapshots/p", [json_reply(200, &json!({ "id": 7, "size": "big", "state": 3 }))]);
    let read = fake.client().get_snapshot("p").await.unwrap().unwrap();
    assert_eq!((read.id.as_str(), read.size), ("7", None));
    assert_eq!(read.state, SnapshotState::Other("3".to_owned()));
}

#[tokio::test]
async fn what_has_no_id_but_our_labels_is_looked_up_by_name() {
    let fake = Fake::start().await;
    let mut headless = labelled("ours");
    headless["id"] = json!({ "odd": true });
    let mut foreign = headless.clone();
    foreign["labels"] = json!({ "fleet": 1 });
    let rows = json!([7, null, "x", ["s9"], foreign, headless, labelled("good")]);
    fake.on(
        SANDBOXES,
        [
            json_reply(200, &json!({ "items": rows, "nextCursor": 0 })),
            json_reply(200, &json!({ "items": [] })),
        ],
    );
    fake.on("GET /sandbox/name-ours", [json_reply(200, &labelled("ours"))]);
    let found = fake.client().list_sandboxes(&wanted()).await.unwrap();
    assert_eq!(found.iter().map(|sandbox| sandbox.id.as_str()).collect::<Vec<_>>(), ["ours", "good"]);
}

#[tokio::test]
async fn what_cannot_be_read_by_its_name_either_fails_no_list() {
    let fake = Fake::start().await;
    let mut headless = labelled("ours");
    headless["id"] = json!(null);
    let mut dots = headless.clone();
    dots["name"] = json!("..");
    let mut nameless = headless.clone();
    nameless["name"] = json!([]);
    let rows = json!([nameless, dots, headless, labelled("good")]);
    fake.on(SANDBOXES, [json_reply(200, &json!({ "items": rows, "nextCursor": null }))]);
    for unreadable in
        [json_reply(200, &headless), json_reply(200, &json!([])), refusal(400, "not a sandbox's name")]
    {
        fake.on("GET /sandbox/name-ours", [unreadable]);
        let found = fake.client().list_sandboxes(&wanted()).await.unwrap();
        let ids: Vec<&str> = found.iter().map(|sandbox| sandbox.id.as_str()).collect();
        assert_eq!(ids, ["..", "name-ours", "good"], "counted under the name");
        assert_eq!(found[1].state, SandboxState::Started);
    }
    // Of what passes nothing is concluded.
    for passing in [refusal(429, "Too Many Requests"), refusal(503, "")] {
        fake.on("GET /sandbox/name-ours", [passing]);
        fake.client().list_sandboxes(&wanted()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_label_deeper_than_any_reader_goes_fails_no_list() {
    let fake = Fake::start().await;
    let deep = format!(r#"{{"id":"deep","labels":{{"a":{}{}}}}}"#, "[".repeat(5000), "]".repeat(5000));
    let body = format!(r#"{{"items":[{deep},{}],"nextCursor":null}}"#, labelled("good"));
    fake.on(SANDBOXES, [raw(200, body)]);
    let found = fake.client().list_sandboxes(&wanted()).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn a_list_without_its_length_is_read_to_its_end() {
    let fake = Fake::start().await;
    let page = |name: &str| json_reply(200, &json!({ "items": [snapshot_json(name, "active", AT, None)] }));
    let last = json_reply(200, &json!({ "items": [] }));
    fake.on(SNAPSHOTS, [page("a"), page("b"), last]);
    let found = fake.client().list_snapshots("").await.unwrap();
    assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn an_odd_key_is_read_and_an_odd_exit_code_is_none() {
    let fake = Fake::start().await;
    let key = json!({ "name": null, "permissions": ["write:sandboxes", 7, null, "delete:sandboxes", "delete:snapshots"], "expiresAt": 1 });
    fake.on("GET /api-keys/current", [json_reply(200, &key)]);
    assert_eq!(fake.client().whoami().await.unwrap().missing(), []);

    let mut row = sandbox_json("s1", "started");
    row["toolboxProxyUrl"] = json!(fake.url("/toolbox").as_str());
    fake.on("GET /sandbox/s1", [json_reply(200, &row)]);
    let toolbox =
        fake.client().toolbox(&fake.client().get_sandbox("s1").await.unwrap().unwrap()).await.unwrap();
    let execute = Execute::new("true", Duration::from_secs(5));
    for (answer, expected) in [
        (json!({ "exitCode": 3.0, "result": null }), Some(3)),
        (json!({ "exitCode": 0, "code": 0, "result": 7 }), Some(0)),
        (json!({ "code": 4 }), Some(4)),
        (json!({ "exitCode": 0.4, "result": "" }), None),
        (json!({ "exitCode": null, "result": "" }), None),
        (json!({ "exitCode": 1e99, "result": "" }), None),
        (json!([0, "ok"]), None),
    ] {
        fake.on("POST /toolbox/s1/process/execute", [json_reply(200, &answer)]);
        let ran = toolbox.execute(&execute).await.ok().map(|ran| ran.exit_code);
        assert_eq!(ran, expected, "{answer}");
    }
}
