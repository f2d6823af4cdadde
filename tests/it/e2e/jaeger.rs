//! The same traces as real Jaeger tells them through its query API, and what docs/tracing.md says about searching there.
//!
//! `scripts/jaeger-test` builds Jaeger and names its binary in HARVEST_JAEGER. Without one the in-process collector of
//! `traces.rs` stands in, and this says so.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use fleet_tests::fixtures::Sample;
use fleet_tests::git_server::Fault;
use fleet_tests::processes::FleetProcess;
use fleet_tests::{eventually, guard, ports};
use job::{JobId, OutcomeWord};
use serde_json::Value;
use telemetry::testing::{CollectedSpan, Outcome, SpanKind, SpanRef};
use tempfile::TempDir;

use super::job_trace::{STAGES, Trace, attempts_are_siblings, every_stage_and_wait_is_a_span, names, says};
use super::scene::{SOON, Scene};
use super::traces::{ended, tracing_scene};

/// The links that people's Jaeger makes of attributes.
const LINKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/jaeger-ui.json");

/// A Jaeger of the test's own, with its storage in memory.
struct Jaeger {
    endpoint: String,
    query: String,
    began: DateTime<Utc>,
    _process: FleetProcess,
    _directory: TempDir,
}

impl Jaeger {
    async fn start(binary: &Path) -> Self {
        let directory = guard::temporary_directory("jaeger").unwrap();
        let [otlp, http, grpc] = ports::free().unwrap();
        let config = directory.path().join("jaeger.yaml");
        std::fs::write(
            &config,
            format!(
                "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{ receivers: [otlp], exporters: [jaeger_storage_exporter] }}
  telemetry:
    metrics: {{ level: none }}
extensions:
  jaeger_storage:
    backends: {{ kept: {{ memory: {{ max_traces: 1000 }} }} }}
  jaeger_query:
    storage: {{ traces: kept }}
    ui: {{ config_file: \"{LINKS}\" }}
    http: {{ endpoint: \"127.0.0.1:{http}\" }}
    grpc: {{ endpoint: \"127.0.0.1:{grpc}\" }}
receivers:
  otlp: {{ protocols: {{ grpc: {{ endpoint: \"127.0.0.1:{otlp}\" }} }} }}
exporters:
  jaeger_storage_exporter: {{ trace_storage: kept }}
"
            ),
        )
        .unwrap();
        let arguments = [OsStr::new("--config"), config.as_os_str()];
        // It would tell of itself to whatever listens on the usual port.
        let quiet = [("OTEL_TRACES_SAMPLER", "always_off".into())];
        let mut process = FleetProcess::spawn_binary(binary, arguments, quiet).unwrap();
        process.says("Everything is ready", SOON).await.unwrap();
        let (endpoint, query) = (format!("http://127.0.0.1:{otlp}"), format!("http://127.0.0.1:{http}"));
        let began = Utc::now();
        let jaeger = Self { endpoint, query, began, _process: process, _directory: directory };
        eventually(SOON, "Jaeger answers", async || jaeger.ask("/api/v3/services", &[]).await).await;
        jaeger
    }

    async fn ask(&self, path: &str, query: &[(&str, String)]) -> Result<Value, String> {
        let url = format!("{}{path}", self.query);
        let answer = reqwest::Client::new().get(&url).query(query).send().await.map_err(|e| e.to_string())?;
        let (status, body) = (answer.status(), answer.text().await.map_err(|e| e.to_string())?);
        if !status.is_success() {
            return Err(format!("{url} {query:?}: {status}: {body}"));
        }
        serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
    }

    /// Every span of one trace.
    async fn trace(&self, id: &str) -> Result<Vec<CollectedSpan>, String> {
        Ok(spans(&self.ask(&format!("/api/v3/traces/{id}"), &[]).await?))
    }

    /// Every span of the traces in which this service has an operation of this name.
    async fn find(&self, service: &str, operation: &str) -> Result<Vec<CollectedSpan>, String> {
        let (from, to) = (self.began - TimeDelta::minutes(1), Utc::now() + TimeDelta::minutes(1));
        let query = [
            ("query.service_name", service.to_owned()),
            ("query.operation_name", operation.to_owned()),
            ("query.start_time_min", from.to_rfc3339()),
            ("query.start_time_max", to.to_rfc3339()),
            ("query.num_traces", "20".to_owned()),
        ];
        Ok(spans(&self.ask("/api/v3/traces", &query).await?))
    }

    /// The traces that a search in the browser finds. By the API that this version's browser uses itself: /api/v3 takes
    /// no tags over HTTP yet.
    async fn search(&self, search: &Search) -> Vec<String> {
        let micros = |instant: DateTime<Utc>| instant.timestamp_micros().to_string();
        let mut query = vec![
            ("service", search.service.clone()),
            ("start", micros(self.began - TimeDelta::minutes(1))),
            ("end", micros(Utc::now() + TimeDelta::minutes(1))),
            ("tags", serde_json::to_string(&search.tags).unwrap()),
            ("limit", "20".into()),
        ];
        query.extend(search.operation.clone().map(|operation| ("operation", operation)));
        query.extend(search.min_duration.clone().map(|duration| ("minDuration", duration)));
        let found = self.ask("/api/traces", &query).await.unwrap();
        let traces = found["data"].as_array().unwrap();
        traces.iter().map(|trace| trace["traceID"].as_str().unwrap().to_owned()).collect()
    }
}

/// The spans of an answer of /api/v3: OTLP as JSON.
fn spans(answer: &Value) -> Vec<CollectedSpan> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for from in list(&answer["result"], "resourceSpans") {
        let resource = attributes(&from["resource"]["attributes"]);
        for span in list(&from, "scopeSpans").iter().flat_map(|scope| list(scope, "spans")) {
            all.push(collected(&span, resource.clone()));
        }
    }
    all
}

fn collected(span: &Value, resource: BTreeMap<String, String>) -> CollectedSpan {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let time =
        |name: &str| DateTime::from_timestamp_nanos(text(span, name).parse().expect("nanoseconds as text"));
    let reference = |of: &Value| SpanRef { trace_id: text(of, "traceId"), span_id: text(of, "spanId") };
    let SpanRef { trace_id, span_id } = reference(span);
    CollectedSpan {
        trace_id,
        span_id,
        parent_span_id: Some(text(span, "parentSpanId")).filter(|id| !id.is_empty()),
        name: text(span, "name"),
        kind: match span["kind"].as_u64() {
            Some(1) => SpanKind::Internal,
            Some(2) => SpanKind::Server,
            Some(3) => SpanKind::Client,
            Some(4) => SpanKind::Producer,
            Some(5) => SpanKind::Consumer,
            _ => SpanKind::Unspecified,
        },
        start: time("startTimeUnixNano"),
        end: time("endTimeUnixNano"),
        attributes: attributes(&span["attributes"]),
        links: span["links"].as_array().into_iter().flatten().map(reference).collect(),
        events: span["events"].as_array().into_iter().flatten().map(|event| text(event, "name")).collect(),
        outcome: match span["status"]["code"].as_u64() {
            Some(1) => Outcome::Ok,
            Some(2) => Outcome::Error(text(&span["status"], "message")),
            _ => Outcome::Unset,
        },
        resource,
    }
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value.as_object().and_then(|kinds| kinds.values().next()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let pairs = of.as_array().into_iter().flatten();
    pairs.map(|pair| (pair["key"].as_str().unwrap_or_default().to_owned(), text(&pair["value"]))).collect()
}

/// The page that people read.
fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tracing.md")).unwrap()
}

/// The cells of the table below this header line.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = page
        .lines()
        .skip_while(|line| *line != header)
        .skip(2)
        .map_while(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "docs/tracing.md has no table `{header}`");
    rows
}

/// The code in a cell.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Each attribute of the page is on a span of each kind that it names.
fn attributes_are_as_documented(page: &str, trace: &Trace) {
    let spans_of = |kind: &str| -> Vec<&CollectedSpan> {
        let is = |span: &&CollectedSpan| match kind {
            "publish" => span.kind == SpanKind::Producer,
            "process" => span.kind == SpanKind::Consumer,
            "stage" => STAGES.contains(&span.name.as_str()),
            "wait" => span.name.starts_with("wait "),
            "http" => span.kind == SpanKind::Client,
            other => panic!("docs/tracing.md speaks of {other} spans"),
        };
        trace.spans.iter().filter(is).collect()
    };
    for row in table(page, "| attribute | on | meaning |") {
        let [names, on, _] = &row[..] else { panic!("{row:?}") };
        for (name, kind) in code(names).into_iter().flat_map(|name| on.split(", ").map(move |on| (name, on)))
        {
            let found = spans_of(kind).iter().any(|span| match name.strip_suffix('*') {
                Some(prefix) => span.attributes.keys().any(|key| key.starts_with(prefix)),
                None => span.attributes.contains_key(name),
            });
            assert!(found, "no {kind} span says {name}: {:#?}", spans_of(kind));
        }
    }
}

/// A search as the page has it.
struct Search {
    service: String,
    operation: Option<String>,
    tags: BTreeMap<String, String>,
    min_duration: Option<String>,
}

/// Every search of the page, for this job: `JOB`, `COMMIT` and the like filled in.
fn documented_searches(page: &str, fill: &[(&str, &str)]) -> Vec<Search> {
    let rows = table(page, "| to find | service | operation | tags | min duration |");
    let rows = rows.iter().map(|row| {
        let [_, service, operation, tags, min_duration] = &row[..] else { panic!("{row:?}") };
        let one = |cell: &str| code(cell).first().map(|text| (*text).to_owned());
        let tags = code(tags).into_iter().flat_map(|tags| tags.split(' ')).map(|tag| {
            let (name, value) = tag.split_once('=').unwrap();
            let value = fill.iter().fold(value.to_owned(), |value, (hole, with)| value.replace(hole, with));
            (name.to_owned(), value)
        });
        Search {
            service: one(service).unwrap(),
            operation: one(operation),
            tags: tags.collect(),
            min_duration: one(min_duration),
        }
    });
    rows.collect()
}

/// What Jaeger's browser makes of the links in docs/jaeger-ui.json, on this span.
fn links(span: &CollectedSpan) -> BTreeMap<String, String> {
    let config: Value = serde_json::from_str(&std::fs::read_to_string(LINKS).unwrap()).unwrap();
    let patterns = config["linkPatterns"].as_array().unwrap();
    let made = patterns.iter().map(|pattern| {
        let (key, url) = (pattern["key"].as_str().unwrap(), pattern["url"].as_str().unwrap());
        assert_eq!(pattern["type"], "tags", "{pattern}");
        assert!(span.attributes.contains_key(key), "no {key} to make a link of: {span:#?}");
        let mut parts = url.split("#{");
        let mut made = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            let value = span.attributes.get(name).unwrap_or_else(|| panic!("{url} wants {name}: {span:#?}"));
            made.extend(url::form_urlencoded::byte_serialize(value.as_bytes()).chain([rest]));
        }
        (key.to_owned(), made)
    });
    made.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_jaeger_has_a_retried_job_as_one_trace_as_documented() {
    let Some(binary) = std::env::var_os("HARVEST_JAEGER").map(PathBuf::from) else {
        println!(
            "real Jaeger is not here (HARVEST_JAEGER is not set; scripts/jaeger-test builds it): the in-process collector \
             of e2e::traces stands in"
        );
        return;
    };
    let jaeger = Jaeger::start(&binary).await;
    let scene = tracing_scene(&jaeger.endpoint, "grpc").await;
    let (target, commit) = scene.repository("acme/flaky", Sample::NpmService).await;
    let (_, _) = scene.repository("acme/broken", Sample::BrokenLockfile).await;
    scene.git.set_fault("acme/flaky", Fault::Unavailable { times: 1 }).unwrap();
    scene.fleet.follow(&scene.git, &[("acme/flaky", ""), ("acme/broken", "")]).unwrap();
    let mut worker = scene.fleet.worker().await.unwrap();
    let mut producer = scene.fleet.producer(&["--once"]).unwrap();
    assert!(producer.ended(SOON).await.unwrap().success());
    let job = |name: &str| -> JobId {
        let said = producer.stdout();
        let line = said.lines().find(|line| line.trim_end().ends_with(name)).unwrap();
        line.split_once("  ").unwrap().0.parse().unwrap()
    };
    let (flaky, broken) = (job("acme/flaky@main"), job("acme/broken@main"));
    assert_eq!(ended(&scene, flaky).await.outcome, OutcomeWord::Built);
    assert_eq!(ended(&scene, broken).await.outcome, OutcomeWord::Failed);
    assert!(worker.terminate(SOON).await.unwrap().success());

    let (trace, tick) = read_back(&jaeger, &scene, flaky).await;
    let drawn = drawn(&trace, trace.root(), 0);
    println!("real Jaeger told {} spans of job {flaky}\n{drawn}", trace.spans.len());
    assert!(trace.spans.len() < 200, "{} spans", trace.spans.len());
    attempts_are_siblings(&trace, &tick);
    assert_eq!(trace.root().resource["service.name"], "harvest-producer");
    let attempts = trace.all("process refresh");
    assert!(attempts.iter().all(|attempt| attempt.resource["service.name"] == "harvest-worker"));
    let (first, second) = (attempts[0], attempts[1]);
    let without_first = trace.spans.iter().filter(|span| *span != first && !span.is_child_of(first));
    let last = Trace { id: trace.id.clone(), spans: without_first.cloned().collect() };
    every_stage_and_wait_is_a_span(&last, second);
    attributes_are_as_documented(&page(), &trace);
    assert_eq!(
        links(second),
        BTreeMap::from([
            ("vcs.repository.url.full".into(), "https://github.com/acme/flaky".into()),
            ("vcs.ref.head.revision".into(), format!("https://github.com/acme/flaky/commit/{commit}")),
        ])
    );

    let target = target.to_string();
    let (failed, _) = read_back(&jaeger, &scene, broken).await;
    let job = flaky.to_string();
    for search in
        documented_searches(&page(), &[("JOB", &job), ("COMMIT", &commit), ("OWNER/NAME@BRANCH", &target)])
    {
        finds(&jaeger, search, [&trace.id, &failed.id]).await;
    }
}

/// The tree below a span, for whoever compares it with the page.
fn drawn(trace: &Trace, span: &CollectedSpan, depth: usize) -> String {
    let took = (span.end - span.start).num_milliseconds();
    let mut below = trace.children(span);
    below.sort_by_key(|child| child.start);
    let below = below.into_iter().map(|child| drawn(trace, child, depth + 1));
    format!("{}{}  {took} ms\n{}", "|  ".repeat(depth), span.name, below.collect::<String>())
}

/// The trace of this job, and its tick, once Jaeger has all of it.
async fn read_back(jaeger: &Jaeger, scene: &Scene, job: JobId) -> (Trace, CollectedSpan) {
    let mut ledger = scene.told().into_iter().rev().filter(|entry| {
        serde_json::to_string(&entry.event).is_ok_and(|event| event.contains(&job.to_string()))
    });
    let id = ledger.find_map(|entry| entry.trace_id).expect("the ledger names the trace");
    let of_job = eventually(SOON, "Jaeger has the whole trace", async || {
        let spans = jaeger.trace(&id).await?;
        let attempts = scene.ends_of(job).len();
        let there = spans.iter().filter(|span| span.kind == SpanKind::Consumer).count();
        if there == attempts { Ok(spans) } else { Err(format!("{:?}", names(&spans))) }
    })
    .await;
    let ticks = jaeger.find("harvest-producer", "schedule.tick").await.unwrap();
    let tick = ticks.into_iter().find(|span| span.name == "schedule.tick").expect("the tick");
    let process = of_job.iter().find(|span| says(span, "job.id", &job.to_string()));
    assert!(process.is_some(), "{:?}", names(&of_job));
    (Trace { id, spans: of_job }, tick)
}

/// What a search of the page finds is of this scene; and a bound on the duration does bound.
async fn finds(jaeger: &Jaeger, search: Search, of_scene: [&String; 2]) {
    let shown = format!("{} {:?} {:?}", search.service, search.operation, search.tags);
    let quick = Search { min_duration: search.min_duration.as_ref().map(|_| "1ms".to_owned()), ..search };
    let found = jaeger.search(&quick).await;
    assert!(
        found.iter().any(|id| of_scene.contains(&id)),
        "{shown} finds {found:?}, not one of {of_scene:?}"
    );
    if search.min_duration.is_some() {
        let long = Search { min_duration: search.min_duration, ..quick };
        assert_eq!(jaeger.search(&long).await, Vec::<String>::new(), "{shown}: nothing takes that long here");
    }
}
