//! Single calls: what goes over the wire, what comes back, what is repeated, and that secrets stay inside.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use daytona::{
    BaseError, BaseFinding, BaseIds, BaseLookupError, Client, CreateOutcome, DeleteOutcome, Error, ErrorKind,
    Execute, ExecuteError, NewSandbox, Retry, SandboxId, SandboxState, SettingsError, SnapshotId, Upload,
};
use serde_json::json;
use support::{
    Fake, KEY, Reply, json_reply, raw, refusal, sandbox, sandbox_json, settings_of, snapshot_json,
};

#[tokio::test]
async fn every_call_says_who_asks() {
    let fake = Fake::start().await;
    fake.on("GET /api-keys/current", [json_reply(200, &json!({ "name": "fleet", "value": "dtn_***", "permissions": ["write:sandboxes", "read:volumes"], "expiresAt": null }))]);
    let key = fake.client().whoami().await.unwrap();
    assert_eq!(
        key.missing().iter().map(daytona::Permission::as_str).collect::<Vec<_>>(),
        ["delete:sandboxes", "delete:snapshots"]
    );
    let headers = &fake.requests()[0].headers;
    assert_eq!(headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(headers["x-daytona-source"], "harvest-fleet");
    assert_eq!(headers["x-daytona-sdk-version"], "0.205.1");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("harvest-fleet/"));
    assert!(!headers.contains_key("traceparent"));
}

#[tokio::test]
async fn a_create_carries_every_leak_guard() {
    let fake = Fake::start().await;
    fake.on("POST /sandbox", [sandbox("s1", "creating")]);
    let mut settings = fake.settings();
    settings.target = Some("eu".to_owned());
    let mut wish = NewSandbox::new("hv.t.web.0a", "node-22");
    wish.labels.insert("fleet".to_owned(), "t".to_owned());
    wish.ttl = Duration::from_secs(3601);
    let made = Client::new(settings).unwrap().create_sandbox(&wish).await.unwrap();
    let CreateOutcome::Created(made) = made else { panic!("{made:?}") };
    assert_eq!(made.state, SandboxState::Creating);
    assert!(!format!("{made:?}").contains("leak-me-not"));
    let sent = fake.requests()[0].json();
    assert_eq!(
        sent,
        json!({
            "name": "hv.t.web.0a", "snapshot": "node-22", "labels": { "fleet": "t" }, "env": {}, "target": "eu",
            "autoStopInterval": 15, "autoDeleteInterval": 0, "ttlMinutes": 61, "queueTimeout": 15,
        })
    );
}

#[tokio::test]
async fn a_create_names_what_it_left_behind() {
    let fake = Fake::start().await;
    let client = fake.client();
    let wish = NewSandbox::new("n", "s");
    fake.on("POST /sandbox", [refusal(409, "Sandbox with name n already exists")]);
    assert!(matches!(client.create_sandbox(&wish).await, Ok(CreateOutcome::NameTaken)));
    fake.on("POST /sandbox", [refusal(400, "Sandbox failed to start: out of disk")]);
    let failed = client.create_sandbox(&wish).await.unwrap();
    let CreateOutcome::FailedToStart { reason } = failed else { panic!("{failed:?}") };
    assert!(reason.as_str().contains("out of disk"));
    for (reply, kind, retry) in [
        (refusal(400, "No available runners"), ErrorKind::Capacity, Retry::Backoff),
        (
            refusal(400, "Total CPU limit exceeded. Maximum allowed: 10."),
            ErrorKind::SandboxQuota,
            Retry::Backoff,
        ),
        (refusal(400, "Snapshot s not found. Did you add it"), ErrorKind::SnapshotNotFound, Retry::Never),
        (refusal(400, "Snapshot s is inactive"), ErrorKind::SnapshotNotActive, Retry::Never),
        (refusal(401, "Invalid credentials"), ErrorKind::Unauthorized, Retry::Never),
        (refusal(403, "Access denied"), ErrorKind::Forbidden, Retry::Never),
        (refusal(403, "Organization is suspended: Depleted credits"), ErrorKind::Suspended, Retry::Never),
        (
            refusal(429, "ThrottlerException: Too Many Requests").header("retry-after-sandbox-create", "17"),
            ErrorKind::RateLimited,
            Retry::After(Duration::from_secs(17)),
        ),
        (raw(502, ""), ErrorKind::Unavailable, Retry::ReadFirst),
        (raw(503, "<html><body>maintenance</body></html>"), ErrorKind::Unavailable, Retry::ReadFirst),
        (raw(200, "<html>not Daytona</html>"), ErrorKind::Undecodable, Retry::ReadFirst),
    ] {
        fake.on("POST /sandbox", [reply]).on("GET /api-keys/current", [refusal(401, "Invalid credentials")]);
        // A client of its own: one whose key was refused sends nothing more.
        let error = fake.client().create_sandbox(&wish).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        assert!(error.to_string().starts_with("create sandbox (POST /sandbox): "), "{error}");
        assert!(!format!("{error} {error:?}").contains(KEY));
    }
    assert_eq!(fake.count("POST /sandbox"), 13, "a create is never repeated");
}

#[tokio::test]
async fn a_read_is_repeated_while_daytona_is_down_and_only_then() {
    let fake = Fake::start().await;
    fake.on("GET /sandbox/s1", [raw(502, ""), raw(503, ""), sandbox("s1", "started")]);
    let found = fake.client().get_sandbox("s1").await.unwrap().unwrap();
    assert_eq!((found.state, fake.count("GET /sandbox/s1")), (SandboxState::Started, 3));
    fake.on("GET /sandbox/s2", [raw(500, "")]);
    let error = fake.client().get_sandbox("s2").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry(), fake.count("GET /sandbox/s2")),
        (ErrorKind::Unavailable, Retry::Backoff, 3)
    );
    let refused = || [refusal(401, "Invalid credentials")];
    fake.on("GET /sandbox/s3", refused()).on("GET /api-keys/current", refused());
    assert_eq!(fake.client().get_sandbox("s3").await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(fake.count("GET /sandbox/s3"), 1);
}

#[tokio::test]
async fn silence_and_no_connection_are_told_apart() {
    let fake = Fake::start().await;
    fake.on("POST /sandbox", [Reply::Hang]);
    let mut settings = fake.settings();
    settings.create_timeout = Duration::from_millis(50);
    let error = Client::new(settings).unwrap().create_sandbox(&NewSandbox::new("n", "s")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::ReadFirst));
    let closed = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let settings = settings_of(format!("http://{closed}/api").parse().unwrap(), KEY);
    let error = Client::new(settings).unwrap().create_sandbox(&NewSandbox::new("n", "s")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
}

#[tokio::test]
async fn a_missing_route_is_not_a_missing_sandbox() {
    let fake = Fake::start().await;
    let id = SandboxId::new("s1");
    fake.on("POST /sandbox/s1/ttl/60", [refusal(404, "Cannot POST /api/sandbox/s1/ttl/60")]);
    let error = fake.client().set_ttl(&id, Duration::from_hours(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    fake.on("POST /sandbox/s1/ttl/60", [refusal(404, "Sandbox with ID or name s1 not found")]);
    let error = fake.client().set_ttl(&id, Duration::from_hours(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn absence_is_an_answer_to_a_look_up_and_a_delete() {
    let fake = Fake::start().await;
    let client = fake.client();
    fake.on("GET /sandbox/x", [refusal(404, "Sandbox with ID or name x not found")]);
    fake.on("DELETE /sandbox/x", [refusal(404, "Sandbox with ID or name x not found")]);
    fake.on("GET /snapshots/a%2Fb%3Ac", [refusal(404, "Snapshot a/b:c not found")]);
    fake.on("DELETE /snapshots/y", [raw(200, "")]);
    assert!(client.get_sandbox("x").await.unwrap().is_none());
    assert!(matches!(client.delete_sandbox(&SandboxId::new("x")).await, Ok(DeleteOutcome::AlreadyGone)));
    assert!(matches!(client.delete_snapshot(&SnapshotId::new("y")).await, Ok(DeleteOutcome::Deleting)));
    for hostile in ["", ".", ".."] {
        let error = client.delete_sandbox(&SandboxId::new(hostile)).await.unwrap_err();
        assert!(matches!(error, Error::Unaddressable { .. }), "{hostile:?}: {error}");
    }
}

#[tokio::test]
async fn lists_are_read_to_the_end_and_compared_exactly() {
    let fake = Fake::start().await;
    let labelled = |id: &str, fleet: &str| {
        let mut item = sandbox_json(id, "started");
        item["labels"] = json!({ "fleet": fleet });
        item
    };
    fake.on(
        "GET /sandbox",
        [
            json_reply(
                200,
                &json!({ "items": [labelled("s1", "prod"), labelled("s2", "PROD")], "nextCursor": "c2" }),
            ),
            json_reply(
                200,
                &json!({ "items": [labelled("s1", "prod"), labelled("s3", "prod")], "nextCursor": null }),
            ),
        ],
    );
    let wanted = BTreeMap::from([("fleet".to_owned(), "prod".to_owned())]);
    let found = fake.client().list_sandboxes(&wanted).await.unwrap();
    assert_eq!(found.iter().map(|sandbox| sandbox.id.as_str()).collect::<Vec<_>>(), ["s1", "s3"]);
    let queries: Vec<_> = fake.requests().into_iter().map(|request| request.query).collect();
    assert!(
        queries[0].contains("sort=createdAt&order=asc&labels=%7B%22fleet%22%3A%22prod%22%7D"),
        "{queries:?}"
    );
    assert!(queries[1].ends_with("cursor=c2"), "{queries:?}");

    let at = "2026-03-01T10:00:00Z";
    fake.on("GET /snapshots", [
        json_reply(200, &json!({ "items": [snapshot_json("a", "active", at, None)], "total": 2, "page": 1, "totalPages": 2 })),
        json_reply(200, &json!({ "items": [snapshot_json("b", "a_new_state", at, None)], "total": 2, "page": 2, "totalPages": 2 })),
    ]);
    let found = fake.client().list_snapshots("hv.").await.unwrap();
    assert_eq!(
        found.iter().map(|one| (one.name.as_str(), one.state.is_pending())).collect::<Vec<_>>(),
        [("a", false), ("b", true)]
    );
}

#[tokio::test]
async fn a_base_is_one_look_up_by_its_name_else_the_newest_of_it() {
    let fake = Fake::start().await;
    let at = |day: u32| format!("2026-03-{day:02}T10:00:00Z");
    let page = |rows: &[serde_json::Value]| {
        json_reply(200, &json!({ "items": rows, "total": 5, "page": 1, "totalPages": 3 }))
    };
    fake.on("GET /snapshots/base", [json_reply(200, &snapshot_json("base", "active", &at(1), None))]);
    assert_eq!(fake.client().base_snapshot("base").await.unwrap().id.as_str(), "id-base");
    assert_eq!(fake.requests().len(), 1);

    fake.on("GET /snapshots/base", [refusal(404, "Snapshot base not found")]);
    fake.on(
        "GET /snapshots",
        [
            page(&[
                snapshot_json("hv.t.base.0a", "active", &at(5), None),
                snapshot_json("base.d", "pulling", &at(4), None),
            ]),
            page(&[
                snapshot_json("base.c", "active", &at(3), None),
                snapshot_json("base.b", "active", &at(2), None),
            ]),
            page(&[snapshot_json("base.a", "active", &at(1), None)]),
        ],
    );
    assert_eq!(fake.client().base_snapshot("base").await.unwrap().name, "base.c");
    assert_eq!(fake.count("GET /snapshots"), 2, "no further than needed");
    let query = fake.requests().pop().unwrap().query;
    assert!(query.contains("sort=createdAt&order=desc&name=base."), "{query}");

    let refused = || [refusal(401, "Invalid credentials")];
    fake.on("GET /snapshots/base", refused()).on("GET /api-keys/current", refused());
    let error = fake.client().base_snapshot("base").await.unwrap_err();
    assert!(matches!(&error, BaseError::Call(error) if error.kind() == ErrorKind::Unauthorized), "{error}");
}

#[tokio::test]
async fn bases_are_looked_up_once_each_until_a_call_fails() {
    let fake = Fake::start().await;
    let active = |name| json_reply(200, &snapshot_json(name, "active", "2026-03-01T10:00:00Z", None));
    fake.on("GET /snapshots/a", [active("a")]).on("GET /snapshots/c", [active("c")]);
    fake.on("GET /snapshots/b", [refusal(404, "Snapshot b not found")]);
    fake.on(
        "GET /snapshots",
        [json_reply(200, &json!({ "items": [], "total": 0, "page": 1, "totalPages": 0 }))],
    );
    let findings = fake.client().look_up_bases(["c", "a", "b", "a"]).await;
    let names: Vec<&str> = findings.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"], "what is missing stops no other");
    assert_eq!(fake.count("GET /snapshots/a"), 1);
    let ids = BaseIds::from(&findings[..]);
    let id_of = |name| ids.id_of(name).map(SnapshotId::as_str);
    assert_eq!((id_of("a"), id_of("b"), id_of("c")), (Some("id-a"), None, Some("id-c")));

    fake.on("GET /snapshots/b", [refusal(401, "Invalid credentials")]);
    let findings = fake.client().look_up_bases(["a", "b", "c"]).await;
    let [_, BaseFinding { name, result: Err(BaseLookupError::Base(BaseError::Call(_))) }] = &findings[..]
    else {
        panic!("{findings:?}")
    };
    assert_eq!(name, "b", "the others would fare no better");
}

#[tokio::test]
async fn a_command_gets_its_secrets_by_environment_only() {
    let fake = Fake::start().await;
    let mut json = sandbox_json("s1", "started");
    json["toolboxProxyUrl"] = json!(fake.url("/proxy/toolbox/").as_str());
    fake.on("GET /sandbox/s1", [json_reply(200, &json)]);
    fake.on(
        "POST /proxy/toolbox/s1/process/execute",
        [json_reply(200, &json!({ "exitCode": 3, "result": "hi\n" }))],
    );
    let toolbox =
        fake.client().toolbox(&fake.client().get_sandbox("s1").await.unwrap().unwrap()).await.unwrap();
    let mut command = Execute::new("git fetch", Duration::from_millis(1500));
    command.envs.insert("TOKEN".to_owned(), "s3cret".into());
    assert!(!format!("{command:?}").contains("s3cret"));
    let ran = toolbox.execute(&command).await.unwrap();
    assert_eq!((ran.exit_code, ran.result.as_str()), (3, "hi\n"));
    let sent = fake.requests().pop().unwrap().json();
    assert_eq!(sent, json!({ "command": "git fetch", "timeout": 2, "envs": { "TOKEN": "s3cret" } }));

    fake.on("GET /sandbox/s1", [refusal(404, "Sandbox with ID or name s1 not found")]);
    for (reply, expected) in [
        (refusal(408, "command execution timeout"), "TimedOut"),
        (refusal(404, "container not found"), "Gone"),
        (raw(200, vec![b' '; 5 * 1024 * 1024]), "TooMuchOutput"),
        (raw(502, ""), "Unknown"),
        (refusal(400, "command is empty"), "Call"),
    ] {
        fake.on("POST /proxy/toolbox/s1/process/execute", [reply]);
        let error: ExecuteError = toolbox.execute(&command).await.unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(shown.starts_with(expected), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert_eq!(fake.count("POST /proxy/toolbox/s1/process/execute"), 6, "a command is never repeated");
}

#[tokio::test]
async fn files_go_path_first_and_come_back_bounded() {
    let fake = Fake::start().await;
    fake.on("GET /sandbox/s1", [sandbox("s1", "started")]);
    fake.on(
        "GET /sandbox/s1/toolbox-proxy-url",
        [json_reply(200, &json!({ "url": fake.url("/toolbox").as_str() }))],
    );
    fake.on("POST /toolbox/s1/files/bulk-upload", [raw(502, ""), json_reply(200, &json!({ "files": [] }))]);
    let toolbox =
        fake.client().toolbox(&fake.client().get_sandbox("s1").await.unwrap().unwrap()).await.unwrap();
    let file = Upload { path: "/tmp/run/a b.sh".to_owned(), content: b"echo \xff".to_vec() };
    assert!(!format!("{file:?}").contains("echo"));
    toolbox.upload(&[file]).await.unwrap();
    let sent = fake.requests().pop().unwrap().body;
    let at =
        |needle: &str| sent.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap();
    assert!(
        at("name=\"files[0].path\"") < at("/tmp/run/a b.sh")
            && at("/tmp/run/a b.sh") < at("name=\"files[0].file\"")
    );

    fake.on("GET /toolbox/s1/files/download", [raw(200, vec![7; 100])]);
    assert_eq!(toolbox.download("/x y", 100).await.unwrap().unwrap(), vec![7; 100]);
    assert_eq!(fake.requests().pop().unwrap().query, "path=%2Fx+y");
    assert_eq!(toolbox.download("/x", 99).await.unwrap_err().kind(), ErrorKind::TooLarge);
    fake.on("GET /toolbox/s1/files/download", [refusal(404, "file not found")]);
    fake.on("GET /toolbox/s1/version", [json_reply(200, &json!({ "version": "v0.190.0" }))]);
    assert!(toolbox.download("/x", 99).await.unwrap().is_none());
}

#[test]
fn settings_that_would_leak_or_never_work_are_refused() {
    let make = |url: &str, key: &str| Client::new(settings_of(url.parse().unwrap(), key));
    assert!(matches!(make("https://user:pw@x/api", KEY), Err(SettingsError::ApiUrl)));
    assert!(matches!(make("ftp://x/api", KEY), Err(SettingsError::ApiUrl)));
    assert!(matches!(make("https://x/api", ""), Err(SettingsError::ApiKey)));
    assert!(matches!(make("https://x/api", "a\nb"), Err(SettingsError::ApiKey)));
    let client = make("https://x/api", KEY).unwrap();
    assert!(!format!("{client:?}").contains(KEY));
}
