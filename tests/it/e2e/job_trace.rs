//! The trace of one job, as a collector received it, and the shape that every job's trace has.

use std::collections::BTreeSet;

use job::JobId;
use telemetry::testing::{CollectedSpan, Outcome, SpanKind};

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

pub(super) fn is_error(span: &CollectedSpan) -> bool {
    matches!(span.outcome, Outcome::Error(_))
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
pub(super) fn is_described(root: &CollectedSpan, reason: &str, queue: &str, repository: &str) {
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
