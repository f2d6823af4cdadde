//! What a trace shows of the client: one CLIENT span per attempt, one span per wait, no query and no key.

#![allow(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daytona::{Backoff, Client, SandboxId, TracePropagation};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use support::{Fake, KEY, raw, refusal, sandbox};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<String, String>;

/// Keeps every span with its fields, in the order of opening.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(u64, Fields)>>>);

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Kept {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if !attributes.metadata().target().starts_with("daytona") {
            return;
        }
        let mut fields = Fields::from([("name".to_owned(), attributes.metadata().name().to_owned())]);
        attributes.record(&mut Reader(&mut fields));
        self.0.lock().unwrap().push((id.into_u64(), fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        if let Some((_, fields)) = spans.iter_mut().rev().find(|(known, _)| *known == id.into_u64()) {
            values.record(&mut Reader(fields));
        }
    }
}

impl Kept {
    fn take(&self) -> Vec<Fields> {
        self.0.lock().unwrap().drain(..).map(|(_, fields)| fields).collect()
    }
}

#[tokio::test]
async fn attempts_and_waits_are_spans_that_carry_the_trace_if_asked() {
    let kept = Kept::default();
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let subscriber = tracing_subscriber::registry()
        .with(kept.clone())
        .with(tracing_opentelemetry::layer().with_tracer(tracer));
    let _guard = tracing::subscriber::set_default(subscriber);

    let fake = Fake::start().await;
    fake.on("GET /sandbox/s1", [raw(503, ""), sandbox("s1", "started")]);
    fake.client().get_sandbox("s1").await.unwrap();
    let spans = kept.take();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (first, second) = (&spans[0], &spans[1]);
    assert_eq!(first["otel.name"], "GET /sandbox/{sandboxIdOrName}");
    assert_eq!(first["otel.kind"], "client");
    assert_eq!(first["http.request.method"], "GET");
    assert_eq!(first["server.address"], "127.0.0.1");
    assert_eq!(first["url.full"], fake.url("/api/sandbox/s1").as_str());
    assert_eq!((first["http.response.status_code"].as_str(), first["error.type"].as_str()), ("503", "503"));
    assert_eq!(first["otel.status_code"], "ERROR");
    assert!(!first.contains_key("http.request.resend_count"));
    assert_eq!(second["http.request.resend_count"], "1");
    assert_eq!(second["http.response.status_code"], "200");
    assert!(!second.contains_key("otel.status_code"));

    fake.on("GET /sandbox/gone", [refusal(404, "not found")]);
    fake.client().get_sandbox("gone").await.unwrap();
    let spans = kept.take();
    assert_eq!(spans[0]["http.response.status_code"], "404");
    assert!(!spans[0].contains_key("error.type"), "an expected absence is no error: {spans:?}");

    fake.on("GET /sandbox/s2", [sandbox("s2", "creating"), raw(502, ""), sandbox("s2", "started")]);
    let fast = Backoff::constant(Duration::from_millis(1), 1.0, Duration::from_millis(1));
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut settings = fake.settings();
    settings.propagate_trace = TracePropagation::Inject;
    let telling = Client::new(settings).unwrap();
    telling.wait_until_started(&SandboxId::new("s2"), deadline, fast).await.unwrap();
    let spans = kept.take();
    assert_eq!(spans.len(), 1, "polls are counted, not spanned: {spans:?}");
    let polled = fake.requests().pop().unwrap().headers;
    assert!(polled.contains_key("traceparent"), "a poll belongs to the trace of its wait: {polled:?}");
    assert_eq!((spans[0]["name"].as_str(), spans[0]["poll.count"].as_str()), ("wait started", "3"));

    telling.get_sandbox("s1").await.unwrap();
    let told = fake.requests().pop().unwrap().headers;
    assert!(told.contains_key("traceparent") && !told.contains_key("tracestate"), "{told:?}");
    assert!(fake.requests()[..3].iter().all(|request| !request.headers.contains_key("traceparent")));
    assert!(kept.take().iter().all(|fields| !format!("{fields:?}").contains(KEY)));
}
