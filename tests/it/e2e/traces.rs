//! What a job tells about itself: one trace, whoever publishes it and however often it is tried; its ids wherever people look;
//! and a collector that is away costs nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fleet_tests::eventually;
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::Fault;
use fleet_tests::processes::FleetProcess;
use job::{AttemptEnd, JobId, OutcomeWord};
use telemetry::testing::{Collector, SpanKind};
use tokio::net::TcpListener;

use super::job_trace::{
    STAGES, Trace, attempts_are_siblings, every_stage_and_wait_is_a_span, is_described, is_error, names, says,
};
use super::scene::{BUILD, SOON, Scene};

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
async fn a_job_is_one_trace_and_none_of_it_is_lost_at_shutdown() {
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

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_siblings_in_a_trace_that_the_dead_letter_names() {
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
