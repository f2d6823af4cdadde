//! What a job tells about itself: one trace, whoever publishes it and however often it is tried; its ids wherever people look;
//! and a collector that is away costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::Fault;
use fleet_tests::processes::FleetProcess;
use job::{AttemptEnd, JobId, OutcomeWord};
use telemetry::testing::{CollectedSpan, Collector, Outcome, SpanKind};
use tokio::net::TcpListener;

use super::scene::{BUILD, SOON, Scene};

pub(super) const STAGES: [&str; 11] = [
    "resolve",
    "provision",
    "checkout",
    "detect",
    "toolchain",
    "install",
    "build",
    "scrub",
    "capture",
    "verify",
    "promote",
];

/// Where and how spans are sent.
fn sending_to(endpoint: &str, protocol: &str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
    ]
}

pub(super) async fn tracing_scene(endpoint: &str, protocol: &str) -> Scene {
    let variables = sending_to(endpoint, protocol);
    Scene::with(|plan| plan.variables.extend(variables)).await
}

/// The spans of one job.
pub(super) struct Trace {
    pub(super) id: String,
    pub(super) spans: Vec<CollectedSpan>,
}

impl Trace {
    pub(super) fn of(spans: &[CollectedSpan], job: JobId) -> Self {
        let process = spans
            .iter()
            .find(|span| span.name.starts_with("process ") && says(span, "job.id", &job.to_string()));
        let id =
            process.unwrap_or_else(|| panic!("no attempt of {job} in {:?}", names(spans))).trace_id.clone();
        Self { spans: spans.iter().filter(|span| span.trace_id == id).cloned().collect(), id }
    }

    pub(super) fn one(&self, name: &str) -> &CollectedSpan {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{name} in {:?}", names(&self.spans));
        found[0]
    }

    /// In the order of their beginning.
    pub(super) fn all(&self, name: &str) -> Vec<&CollectedSpan> {
        let mut found: Vec<&CollectedSpan> = self.spans.iter().filter(|span| span.name == name).collect();
        found.sort_by_key(|span| span.start);
        found
    }

    pub(super) fn children(&self, of: &CollectedSpan) -> Vec<&CollectedSpan> {
        self.spans.iter().filter(|span| span.is_child_of(of)).collect()
    }

    pub(super) fn root(&self) -> &CollectedSpan {
        let root = self.spans.iter().find(|span| span.parent_span_id.is_none());
        root.unwrap_or_else(|| panic!("no root in {:?}", names(&self.spans)))
    }

    /// Every span but the root has its parent here.
    pub(super) fn is_whole(&self) {
        let ids: BTreeSet<&str> = self.spans.iter().map(|span| span.span_id.as_str()).collect();
        let strays: Vec<&str> = self
            .spans
            .iter()
            .filter(|span| span.parent_span_id.as_deref().is_some_and(|parent| !ids.contains(parent)))
            .map(|span| span.name.as_str())
            .collect();
        assert!(strays.is_empty(), "{strays:?} hang in the air");
        assert_eq!(
            self.spans.iter().filter(|span| span.parent_span_id.is_none()).count(),
            1,
            "{:?}",
            names(&self.spans)
        );
    }
}

pub(super) fn names(spans: &[CollectedSpan]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

pub(super) fn says(span: &CollectedSpan, attribute: &str, value: &str) -> bool {
    span.attributes.get(attribute).is_some_and(|said| said == value)
}

fn is_error(span: &CollectedSpan) -> bool {
    matches!(span.outcome, Outcome::Error(_))
}

/// A job that an operator submits: its id and its trace's, and how it ended.
async fn submitted(scene: &Scene, target: &str) -> (JobId, String, AttemptEnd) {
    let answer = scene.fleet.ask_json(&["--json", "submit", target]).await.unwrap();
    let submitted = &answer["submitted"][0];
    let field =
        |name: &str| submitted[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned();
    let job: JobId = field("job").parse().unwrap();
    let end = ended(scene, job).await;
    (job, field("trace_id"), end)
}

/// How the job's last attempt ended.
pub(super) async fn ended(scene: &Scene, job: JobId) -> AttemptEnd {
    eventually(BUILD, &format!("the last attempt of job {job} ends"), async || {
        let ends = scene.ends_of(job);
        ends.last().filter(|end| end.is_last()).cloned().ok_or_else(|| format!("{ends:?}"))
    })
    .await
}

/// Every JSON log line of the job says its trace's id; at least one there is.
fn lines_say(worker: &FleetProcess, job: JobId, trace: &str) {
    let lines: Vec<serde_json::Value> = worker
        .stderr()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of_job: Vec<_> = lines.iter().filter(|line| line["job.id"] == job.to_string()).collect();
    assert!(!of_job.is_empty(), "no line of {job}");
    for line in of_job {
        assert_eq!(line["trace_id"], trace, "{line}");
        assert!(
            line["target"].is_string() && line["attempt"].is_number() && line["slot"].is_number(),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_from_the_operator_to_the_promoted_prebuild_and_none_of_it_is_lost_at_shutdown() {
    let collector = Collector::start().await;
    let scene = tracing_scene(&collector.endpoint(), "grpc").await;
    let (_, commit) = scene.repository("acme/traced", Sample::NpmService).await;
    scene.fleet.follow(&scene.git, &[("acme/traced", "")]).unwrap();
    let mut worker = scene.fleet.worker().await.unwrap();
    let (built, told_trace, end) = submitted(&scene, "acme/traced").await;
    assert_eq!(end.outcome, OutcomeWord::Built, "{end:?}");
    let (unchanged, told_later, end) = submitted(&scene, "acme/traced").await;
    assert_eq!(end.outcome, OutcomeWord::Unchanged, "{end:?}");
    // At once after the job's end: what the worker still holds must arrive.
    let status = worker.terminate(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    let spans = collector.spans();

    let trace = Trace::of(&spans, built);
    assert_eq!(trace.id, told_trace, "harvestctl names the trace");
    assert!(trace.spans.len() < 200, "{} spans", trace.spans.len());
    trace.is_whole();
    let root = trace.root();
    assert!(root.name.starts_with("publish ") && root.name.ends_with("ondemand"), "{root:#?}");
    assert_eq!((root.kind, root.parent_span_id.as_ref()), (SpanKind::Producer, None));
    assert_eq!(root.resource["service.name"], "harvestctl");
    is_described(root, "on_demand", "ondemand", "traced");
    let process = trace.one("process ondemand");
    assert_eq!(process.kind, SpanKind::Consumer);
    assert!(process.is_child_of(root) && process.links == [root.reference()], "{process:#?}");
    assert_eq!(process.resource["service.name"], "harvest-worker");
    assert_eq!(process.resource["service.namespace"], scene.fleet.name());
    for (attribute, value) in [
        ("outcome", "built"),
        ("cicd.pipeline.result", "success"),
        ("messaging.system", "rabbitmq"),
        ("messaging.destination.name", "ondemand"),
        ("vcs.owner.name", "acme"),
        ("vcs.repository.name", "traced"),
        ("vcs.repository.url.full", scene.git.url("acme/traced").trim_end_matches(".git")),
        ("vcs.ref.head.revision", &commit),
        ("vcs.ref.head.name", "main"),
        ("target", "acme/traced@main"),
    ] {
        assert!(says(process, attribute, value), "{attribute}: {process:#?}");
    }
    let waited = trace.one("queue wait");
    assert!(
        waited.is_child_of(root) && waited.end >= waited.start && says(waited, "attempt", "1"),
        "{waited:#?}"
    );

    every_stage_and_wait_is_a_span(&trace, process);
    lines_say(&worker, built, &trace.id);
    assert!(!worker.stderr().contains(r#""level":"ERROR""#), "nobody has to act: {}", worker.stderr());
    let of_job = scene.told().into_iter().filter(|entry| {
        serde_json::to_string(&entry.event).is_ok_and(|event| event.contains(&built.to_string()))
    });
    let traces: Vec<Option<String>> = of_job.map(|entry| entry.trace_id).collect();
    // Submitted, started, every stage but resolve, ended.
    assert_eq!(traces, vec![Some(trace.id.clone()); STAGES.len() + 3], "{traces:?}");

    let trace = Trace::of(&spans, unchanged);
    assert_eq!(trace.id, told_later);
    assert!(trace.one("process ondemand").is_child_of(trace.root()));
    assert_eq!(trace.spans.len(), 2, "{:?}", names(&trace.spans));
    lines_say(&worker, unchanged, &trace.id);
}

pub(super) fn every_stage_and_wait_is_a_span(trace: &Trace, process: &CollectedSpan) {
    for stage in STAGES {
        let spans = trace.all(stage);
        // Starting the sandbox, and checking it.
        assert_eq!(spans.len(), if stage == "verify" { 2 } else { 1 }, "{stage}");
        for span in spans {
            assert!(span.is_child_of(process) && span.kind == SpanKind::Internal, "{span:#?}");
            assert!(
                says(span, "stage", stage) && says(span, "cicd.pipeline.task.run.result", "success"),
                "{span:#?}"
            );
        }
    }
    for stage in ["provision", "checkout", "install", "capture"] {
        let calls = trace.children(trace.one(stage)).iter().any(|span| span.kind == SpanKind::Client);
        assert!(calls, "{stage} calls nobody");
    }
    let waits: Vec<&CollectedSpan> =
        trace.spans.iter().filter(|span| span.name.starts_with("wait ")).collect();
    // One for the build's sandbox, one for the verification's; one for each long command.
    for (name, times) in
        [("wait started", 2), ("wait deleted", 2), ("wait git", 1), ("wait frozen", 1), ("wait build", 1)]
    {
        assert_eq!(trace.all(name).len(), times, "{name} in {:?}", names(&trace.spans));
    }
    for wait in waits {
        assert!(wait.attributes.contains_key("poll.count"), "{wait:#?}");
        assert!(trace.children(wait).is_empty(), "polls are counted, not traced: {wait:#?}");
    }
    // The beats of the lease are in no trace: every half second here, for the whole build.
    assert!(trace.spans.iter().all(|span| !span.name.starts_with("PUT ")), "{:?}", names(&trace.spans));
}

/// A root has the same attributes whichever program publishes the job.
fn is_described(root: &CollectedSpan, reason: &str, queue: &str, repository: &str) {
    for (attribute, value) in [
        ("job.reason", reason),
        ("messaging.system", "rabbitmq"),
        ("messaging.destination.name", queue),
        ("target", &format!("acme/{repository}@main")),
        ("vcs.repository.name", repository),
        ("vcs.ref.head.name", "main"),
    ] {
        assert!(says(root, attribute, value), "{attribute}: {root:#?}");
    }
    assert!(root.attributes.contains_key("job.id"), "{root:#?}");
}

/// The trace of a job of this tick whose first attempt met a git host that was away.
pub(super) fn attempts_are_siblings(trace: &Trace, tick: &CollectedSpan) {
    trace.is_whole();
    let root = trace.one("publish refresh");
    assert_eq!((root.kind, &root.links), (SpanKind::Producer, &vec![tick.reference()]));
    is_described(root, "scheduled", "refresh", "flaky");
    assert_ne!(tick.trace_id, trace.id);
    let attempts = trace.all("process refresh");
    let [first, second] = attempts[..] else { panic!("{attempts:#?}") };
    assert!(first.is_child_of(root) && second.is_child_of(root));
    assert_eq!(first.links, [root.reference()]);
    assert_eq!(second.links, [root.reference(), first.reference()]);
    assert!(says(first, "attempt", "1") && says(second, "attempt", "2"));
    assert!(is_error(first) && says(first, "error.type", "clone.host_unavailable"), "{first:#?}");
    assert!(says(first, "cicd.pipeline.result", "error") && !is_error(second), "{first:#?}");
    let resolves = trace.all("resolve");
    assert!(
        resolves[0].is_child_of(first)
            && is_error(resolves[0])
            && says(resolves[0], "error.type", "clone.host_unavailable")
    );
    assert!(resolves[1].is_child_of(second) && !is_error(resolves[1]));
    let waited = trace.one("retry wait");
    assert!(waited.is_child_of(root) && says(waited, "attempt", "2"), "{waited:#?}");
    assert!(waited.end - waited.start >= chrono::TimeDelta::milliseconds(200), "{waited:#?}");
    assert!(trace.one("queue wait").is_child_of(root));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_one_job_are_siblings_in_its_trace_and_a_dead_letter_names_it() {
    let collector = Collector::start().await;
    let scene = tracing_scene(&collector.http_endpoint(), "http/protobuf").await;
    scene.repository("acme/flaky", Sample::NpmService).await;
    scene.repository("acme/broken", Sample::BrokenLockfile).await;
    scene.git.set_fault("acme/flaky", Fault::Unavailable { times: 1 }).unwrap();
    scene.fleet.follow(&scene.git, &[("acme/flaky", ""), ("acme/broken", "")]).unwrap();
    let mut worker = scene.fleet.worker().await.unwrap();
    let mut producer = scene.fleet.producer(&["--once"]).unwrap();
    assert!(producer.ended(SOON).await.unwrap().success());
    let jobs: BTreeMap<String, JobId> = producer
        .stdout()
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(job, target)| (target.trim().to_owned(), job.parse().unwrap()))
        .collect();
    let (flaky, broken) = (jobs["acme/flaky@main"], jobs["acme/broken@main"]);
    assert_eq!(ended(&scene, flaky).await.outcome, OutcomeWord::Built);
    assert_eq!(ended(&scene, broken).await.outcome, OutcomeWord::Failed);
    assert!(worker.terminate(SOON).await.unwrap().success());
    let spans = collector.spans();

    let trace = Trace::of(&spans, flaky);
    let tick = spans.iter().find(|span| span.name == "schedule.tick").expect("the tick");
    assert!(says(tick, "jobs.enqueued", "2"), "{tick:#?}");
    attempts_are_siblings(&trace, tick);
    lines_say(&worker, flaky, &trace.id);

    let trace = Trace::of(&spans, broken);
    let process = trace.one("process refresh");
    assert!(is_error(process) && says(process, "cicd.pipeline.result", "failure"), "{process:#?}");
    assert!(is_error(trace.one("install")) && trace.all("build").is_empty());
    lines_say(&worker, broken, &trace.id);
    let mut queue = scene.broker.dead_letters().await.unwrap();
    let letters = queue.list().await.unwrap();
    let records: Vec<_> = letters.iter().filter_map(|letter| letter.record.as_ref()).collect();
    assert_eq!(
        records.iter().map(|record| (record.job, record.trace_id.as_deref())).collect::<Vec<_>>(),
        [(Some(broken), Some(trace.id.as_str()))]
    );
    queue.close().await;
    let shown = scene.fleet.ask(&["dead-letters", "show", &broken.to_string()[..13]], SOON).await.unwrap();
    assert!(shown.stdout.contains(&trace.id), "{}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_without_a_trace_do_not_share_one() {
    let collector = Collector::start().await;
    let scene = tracing_scene(&collector.endpoint(), "grpc").await;
    scene.repository("acme/empty", Sample::NoLockfile).await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let target = "acme/empty@nowhere".parse().unwrap();
    let (first, second) = (scene.job(&target), job::Job { forced: true, ..scene.job(&target) });
    for job in [&first, &second] {
        scene.publish(job).await;
        assert_eq!(scene.last_end(job).await.outcome, OutcomeWord::Failed);
    }
    assert!(worker.terminate(SOON).await.unwrap().success());
    let spans = collector.spans();
    let (one, other) = (Trace::of(&spans, first.id), Trace::of(&spans, second.id));
    assert_ne!(one.id, other.id);
    one.is_whole();
    assert!(spans.iter().all(|span| span.name != "slot"), "{:?}", names(&spans));
}

/// A job to its end and the worker to its own, with this collector; how long the latter took.
async fn shut_down_beside(endpoint: &str, protocol: &str) -> Duration {
    let scene = tracing_scene(endpoint, protocol).await;
    scene.repository("acme/empty", Sample::NoLockfile).await;
    let mut worker = scene.fleet.worker().await.unwrap();
    let job = scene.job(&"acme/empty@nowhere".parse().unwrap());
    let published = Instant::now();
    scene.publish(&job).await;
    assert_eq!(scene.last_end(&job).await.outcome, OutcomeWord::Failed);
    assert!(published.elapsed() < Duration::from_secs(15), "a job took {:?}", published.elapsed());
    let asked = Instant::now();
    let status = worker.terminate(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_slows_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let refused = listener.local_addr().unwrap();
    drop(listener);
    for (endpoint, protocol) in
        [(format!("http://{refused}"), "grpc"), (format!("http://{refused}/v1/traces"), "http/protobuf")]
    {
        let took = shut_down_beside(&endpoint, protocol).await;
        assert!(took < Duration::from_secs(9), "{protocol}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_slows_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent = listener.local_addr().unwrap();
    // Connections are taken, and kept open.
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            taken.push(connection);
        }
    });
    for (endpoint, protocol) in
        [(format!("http://{silent}"), "grpc"), (format!("http://{silent}/v1/traces"), "http/protobuf")]
    {
        let took = shut_down_beside(&endpoint, protocol).await;
        assert!(took < Duration::from_secs(9), "{protocol}: {took:?}");
    }
    taking.abort();
}

/// The names of one section of docs/metrics.md.
fn documented(section: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let section = page.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    names.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("harvest_")).collect()
}

/// The names of a scrape, without the parts of a histogram.
fn exposed(scrape: &str) -> BTreeSet<String> {
    let names = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.filter(|name| name.starts_with("harvest_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_metrics_are_those_that_are_documented() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let scene = Scene::with(|plan| plan.variables.push(("HARVEST_HTTP_LISTEN", address.to_string()))).await;
    let (built, _) = scene.repository("acme/built", Sample::NpmService).await;
    scene.git.set_fault("acme/built", Fault::Unavailable { times: 1 }).unwrap();
    let _worker = scene.fleet.worker().await.unwrap();
    assert_eq!(scene.bring_up_to_date(&built).await.outcome, OutcomeWord::Built);
    let lost = "acme/built@nowhere".parse().unwrap();
    assert_eq!(scene.bring_up_to_date(&lost).await.outcome, OutcomeWord::Failed);

    let scrape = eventually(SOON, "the failed job is counted", async || {
        let scrape =
            reqwest::get(format!("http://{address}/metrics")).await.map_err(|error| error.to_string())?;
        let scrape = scrape.text().await.map_err(|error| error.to_string())?;
        if scrape.contains("harvest_dead_letters_total{") { Ok(scrape) } else { Err(scrape) }
    })
    .await;
    assert_eq!(exposed(&scrape), documented("Worker"));
    for line in [
        r#"harvest_attempts_total{failure="",outcome="built"} 1"#,
        r#"harvest_attempts_total{failure="clone.host_unavailable",outcome="failed"} 1"#,
        r#"harvest_attempts_total{failure="clone.branch_missing",outcome="failed"} 1"#,
        r#"harvest_retries_total{failure="clone.host_unavailable"} 1"#,
        r#"harvest_dead_letters_total{failure="clone.branch_missing"} 1"#,
        r#"harvest_stage_duration_seconds_count{result="ok",stage="build"} 1"#,
        "harvest_queue_wait_seconds_count 3",
        "harvest_sandbox_cold_start_seconds_count 1",
        "harvest_sandboxes_swept_total 0",
        "harvest_worker_slots 1",
        "harvest_worker_slots_used 0",
    ] {
        assert!(scrape.lines().any(|said| said == line), "no {line} in\n{scrape}");
    }
    let starts = |bound: &str| {
        scrape.lines().any(|line| {
            line.starts_with(&format!(r#"harvest_sandbox_cold_start_seconds_bucket{{le="{bound}"}}"#))
        })
    };
    assert!(starts("0.3") && !starts("0.25"), "the cold start has bounds of its own:\n{scrape}");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let bounds = scrape
        .lines()
        .filter_map(|line| line.strip_prefix(r#"harvest_queue_wait_seconds_bucket{le=""#)?.split_once('"'));
    let bounds: Vec<&str> = bounds.map(|(bound, _)| bound).filter(|bound| *bound != "+Inf").collect();
    assert!(page.replace('\n', " ").contains(&bounds.join(", ")), "{bounds:?} are not in docs/metrics.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_metrics_are_those_that_are_documented() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let scene = Scene::with(|plan| plan.variables.push(("HARVEST_HTTP_LISTEN", address.to_string()))).await;
    scene.repository("acme/listed", Sample::NpmService).await;
    scene.fleet.follow(&scene.git, &[("acme/listed", "")]).unwrap();
    let _producer = scene.fleet.producer(&[]).unwrap();
    let scrape = eventually(BUILD, "a tick is fired", async || {
        let scrape =
            reqwest::get(format!("http://{address}/metrics")).await.map_err(|error| error.to_string())?;
        let scrape = scrape.text().await.map_err(|error| error.to_string())?;
        if scrape.contains("harvest_ticks_total{") { Ok(scrape) } else { Err(scrape) }
    })
    .await;
    assert_eq!(exposed(&scrape), documented("Producer"));
}
