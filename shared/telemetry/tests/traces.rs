//! What a collector receives, over both transports, and what a broken collector costs: nothing.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use telemetry::testing::{CapturedLogs, CollectedSpan, Collector, Outcome, SpanKind};
use telemetry::{
    Adoption, Carrier, Flush, Interval, IntervalEnd, LogFormat, Otlp, OtlpProtocol, ServiceIdentity,
    Telemetry, TelemetryError, TelemetrySettings, TracesExport, add_link, carrier_of, current_trace_id,
    record_interval, set_parent, traceparent_of,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::instrument::WithSubscriber;
use tracing::{Instrument, Span, info_span};

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(traces: TracesExport) -> TelemetrySettings {
    TelemetrySettings {
        service: ServiceIdentity {
            name: "harvest-worker".into(),
            version: "1.2.3".into(),
            fleet: "test".into(),
            instance: "worker-0".into(),
        },
        log_format: LogFormat::Json,
        log_filter: "info".into(),
        traces,
    }
}

fn exporting(endpoint: String, protocol: OtlpProtocol) -> Telemetry {
    let otlp = Otlp { endpoint, protocol, headers: BTreeMap::new(), certificate_authorities: None };
    Telemetry::prepare(&settings(TracesExport::Otlp(otlp)), io::sink).expect("telemetry")
}

/// What a producer and, in another place, a worker do for one job.
async fn one_job() {
    let tick = info_span!("schedule.tick");
    let publish = info_span!(parent: None, "publish", otel.kind = "producer", job.id = "j1");
    add_link(&publish, &carrier_of(&tick));
    let message = publish.in_scope(|| carrier_of(&Span::current()));
    drop((tick, publish));

    let now = Utc::now();
    let waited = Interval {
        name: "queue wait".into(),
        start: now - TimeDelta::seconds(30),
        end: now,
        ended: IntervalEnd::Passed,
        attributes: vec![telemetry::opentelemetry::KeyValue::new("attempt", 1)],
    };
    let skewed =
        Interval { name: "skewed wait".into(), end: waited.start - TimeDelta::hours(1), ..waited.clone() };
    record_interval(&message, waited);
    record_interval(&message, skewed);

    let process = info_span!("process", otel.kind = "consumer", job.id = "j1");
    assert_eq!(set_parent(&process, &message), Adoption::Adopted);
    add_link(&process, &message);
    async {
        tracing::info!("taken");
        assert_eq!(current_trace_id(), telemetry::trace_id_of(&message));
        async { tracing::error!("out of memory") }.instrument(info_span!("install")).await;
        assert_eq!(set_parent(&Span::current(), &message), Adoption::AlreadyStarted);
    }
    .instrument(process)
    .await;
}

fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
}

async fn check(endpoint: impl FnOnce(&Collector) -> String, protocol: OtlpProtocol) {
    let collector = Collector::start().await;
    let telemetry = exporting(endpoint(&collector), protocol);
    one_job().with_subscriber(telemetry.dispatch()).await;
    let flush = telemetry.shutdown().await;
    assert!(matches!(flush, Flush::Flushed), "{flush:?}");
    let spans = collector.wait_for(|spans| spans.len() >= 6, PATIENCE).await;
    assert_eq!(spans.len(), 6, "{spans:#?}");

    let (tick, publish, process) =
        (named(&spans, "schedule.tick"), named(&spans, "publish"), named(&spans, "process"));
    assert_eq!((publish.kind, &publish.parent_span_id), (SpanKind::Producer, &None));
    assert_ne!(publish.trace_id, tick.trace_id);
    assert_eq!(publish.links, [tick.reference()]);
    assert_eq!(publish.attributes, BTreeMap::from([("job.id".to_owned(), "j1".to_owned())]));

    assert_eq!(process.kind, SpanKind::Consumer);
    assert!(process.is_child_of(publish));
    assert_eq!(process.links, [publish.reference()]);
    assert_eq!(process.events, ["taken"]);
    let install = named(&spans, "install");
    assert!(install.is_child_of(process));
    assert!(matches!(install.outcome, Outcome::Error(_)), "{install:?}");

    let (waited, skewed) = (named(&spans, "queue wait"), named(&spans, "skewed wait"));
    assert!(waited.is_child_of(publish) && skewed.is_child_of(publish));
    assert_eq!((waited.end - waited.start).num_seconds(), 30);
    assert_eq!(skewed.end, skewed.start);
    assert_eq!(waited.attributes["attempt"], "1");

    for (attribute, value) in [
        ("service.name", "harvest-worker"),
        ("service.version", "1.2.3"),
        ("service.namespace", "test"),
        ("service.instance.id", "worker-0"),
    ] {
        assert_eq!(process.resource[attribute], value, "{attribute}");
    }
}

#[tokio::test]
async fn spans_arrive_over_grpc() {
    check(Collector::endpoint, OtlpProtocol::Grpc).await;
}

#[tokio::test]
async fn spans_arrive_over_http() {
    check(Collector::http_endpoint, OtlpProtocol::HttpProtobuf).await;
}

#[tokio::test]
async fn a_parent_that_is_not_sampled_is_respected() {
    let collector = Collector::start().await;
    let telemetry = exporting(collector.endpoint(), OtlpProtocol::Grpc);
    let parent = |flag: &str| {
        Carrier::from([(
            "traceparent".into(),
            format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flag}"),
        )])
    };
    let work = async {
        for (name, flag) in [("unsampled", "00"), ("sampled", "01")] {
            let span = info_span!("process", otel.name = name);
            assert_eq!(set_parent(&span, &parent(flag)), Adoption::Adopted);
            span.in_scope(|| ());
        }
    };
    work.with_subscriber(telemetry.dispatch()).await;
    assert!(matches!(telemetry.shutdown().await, Flush::Flushed));
    let spans = collector.wait_for(|spans| !spans.is_empty(), PATIENCE).await;
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["sampled"]);
}

#[tokio::test]
async fn two_in_one_process_do_not_mix() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let one = exporting(first.endpoint(), OtlpProtocol::Grpc);
    let two = exporting(second.endpoint(), OtlpProtocol::Grpc);
    let say = |name: &'static str| async move { info_span!("work", otel.name = name).in_scope(|| ()) };
    tokio::join!(say("one").with_subscriber(one.dispatch()), say("two").with_subscriber(two.dispatch()));
    assert!(matches!(one.shutdown().await, Flush::Flushed));
    assert!(matches!(two.shutdown().await, Flush::Flushed));
    for (collector, name) in [(first, "one"), (second, "two")] {
        let spans = collector.wait_for(|spans| !spans.is_empty(), PATIENCE).await;
        assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), [name]);
    }
}

#[tokio::test]
async fn without_export_there_are_still_ids_and_no_noise() {
    let logs = CapturedLogs::default();
    let telemetry = Telemetry::prepare(&settings(TracesExport::Off), logs.clone()).expect("telemetry");
    let parent = async {
        let span = info_span!("process");
        traceparent_of(&span).expect("an id without an exporter")
    };
    let traceparent = parent.with_subscriber(telemetry.dispatch()).await;
    assert!(traceparent.starts_with("00-") && traceparent.ends_with("-01"), "{traceparent}");
    assert!(matches!(telemetry.shutdown().await, Flush::Flushed));
    assert_eq!(logs.text(), "");
}

/// Spans beyond the export queue must cost as good as nothing, and the last flush must end within its bound.
async fn check_broken(endpoint: String, protocol: OtlpProtocol) -> Flush {
    let telemetry = exporting(endpoint, protocol);
    let started = Instant::now();
    async {
        for _ in 0..10_000 {
            info_span!("work").in_scope(|| ());
        }
    }
    .with_subscriber(telemetry.dispatch())
    .await;
    let worked = started.elapsed();
    let started = Instant::now();
    let flush = telemetry.shutdown().await;
    let flushed = started.elapsed();
    // One export alone may take three seconds: work that waits for any is seen here.
    assert!(worked < Duration::from_millis(2500), "10,000 spans took {worked:?}");
    assert!(flushed < Duration::from_secs(6), "the flush took {flushed:?}");
    flush
}

#[tokio::test]
async fn a_collector_that_refuses_costs_nothing() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    // How the flush went is not asserted: it tells of the last batch only, and all may have failed before.
    let _flushes = tokio::join!(
        check_broken(format!("http://{addr}"), OtlpProtocol::Grpc),
        check_broken(format!("http://{addr}/v1/traces"), OtlpProtocol::HttpProtobuf)
    );
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_nothing() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let mut silence = JoinSet::new();
    silence.spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let flushes = [
        check_broken(format!("http://{addr}"), OtlpProtocol::Grpc).await,
        check_broken(format!("http://{addr}/v1/traces"), OtlpProtocol::HttpProtobuf).await,
    ];
    assert!(!flushes.iter().any(|flush| matches!(flush, Flush::Flushed)), "nobody took them: {flushes:?}");
}

#[test]
fn mistakes_in_the_settings_are_said_at_the_start() {
    let otlp = |protocol, ca: Option<&str>| {
        let otlp = Otlp {
            endpoint: "https://user:s3cret@collector:4317".into(),
            protocol,
            headers: BTreeMap::new(),
            certificate_authorities: ca.map(Into::into),
        };
        Telemetry::prepare(&settings(TracesExport::Otlp(otlp)), io::sink).expect_err("a mistake")
    };
    assert!(matches!(otlp(OtlpProtocol::Grpc, None), TelemetryError::NoRuntime));
    let error = otlp(OtlpProtocol::HttpProtobuf, Some("/ca.pem"));
    assert!(matches!(error, TelemetryError::CertificateAuthoritiesOverHttp));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let here = tempfile::tempdir().expect("a folder");
    let missing = here.path().join("ca.pem").display().to_string();
    let error = otlp(OtlpProtocol::Grpc, Some(&missing));
    assert_eq!(error.to_string(), format!("cannot read the certificate authorities in {missing}"));
}
