use std::io;

use serde_json::{Value, json};
use tracing::{Span, dispatcher, field};

use crate::testing::CapturedLogs;
use crate::{LogFormat, ServiceIdentity, Telemetry, TelemetrySettings, TracesExport};

fn logged(format: LogFormat, filter: &str, say: impl FnOnce()) -> CapturedLogs {
    let service = ServiceIdentity {
        name: "harvest-worker".into(),
        version: "1.2.3".into(),
        fleet: "test".into(),
        instance: "worker-0".into(),
    };
    let settings = TelemetrySettings {
        service,
        log_format: format,
        log_filter: filter.into(),
        traces: TracesExport::Off,
    };
    let logs = CapturedLogs::default();
    let telemetry = Telemetry::prepare(&settings, logs.clone()).expect("telemetry");
    dispatcher::with_default(&telemetry.dispatch(), say);
    logs
}

fn one_json(filter: &str, say: impl FnOnce()) -> Value {
    let lines = logged(LogFormat::Json, filter, say).json_lines();
    let [line] = lines.as_slice() else { panic!("one line, not {lines:?}") };
    line.clone()
}

fn in_a_stage(say: impl FnOnce()) {
    let process = tracing::info_span!(
        "process",
        job.id = "j1",
        attempt = 2,
        target = "a/b@main",
        otel.kind = "consumer",
        outcome = field::Empty
    );
    process.record("outcome", "built");
    process.in_scope(|| tracing::info_span!("stage", stage = "install", attempt = 3).in_scope(say));
}

#[test]
fn a_json_line_has_the_fields_of_its_spans_and_the_trace_ids() {
    let mut expected_trace = None;
    let line = one_json("info", || {
        in_a_stage(|| {
            expected_trace = crate::current_trace_id();
            tracing::warn!(lines = 7_u64, took = 0.5, frozen = true, "lockfile out of sync");
        });
    });
    let expected = json!({
        "timestamp": line["timestamp"], "level": "WARN", "module": "telemetry::logs::tests",
        "message": "lockfile out of sync", "trace_id": expected_trace, "span_id": line["span_id"],
        "job.id": "j1", "attempt": 3, "target": "a/b@main", "outcome": "built", "stage": "install",
        "lines": 7, "took": 0.5, "frozen": true,
    });
    assert_eq!(line, expected);
    assert!(expected_trace.is_some_and(|id| id.len() == 32));
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
    let timestamp = line["timestamp"].as_str().expect("text");
    assert!(
        timestamp.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(),
        "{timestamp}"
    );
}

#[test]
fn a_filter_for_warnings_keeps_the_fields_of_spans() {
    let line = one_json("warn", || {
        in_a_stage(|| {
            tracing::info!("not shown");
            tracing::warn!("shown");
        });
    });
    assert_eq!((&line["job.id"], &line["message"]), (&json!("j1"), &json!("shown")));
    assert!(line["trace_id"].is_string());
}

#[test]
fn outside_of_spans_there_are_no_ids() {
    let line = one_json("info", || tracing::info!("started"));
    assert_eq!(line.get("trace_id"), None);
    assert!(Span::current().is_none());
}

#[test]
fn a_field_cannot_pose_as_a_part_of_the_line() {
    let line = one_json("info", || tracing::info!(trace_id = "forged", level = "none", "text\nmore"));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["field.level"], "none");
    assert_eq!(line.get("trace_id"), None);
    assert_eq!(line["field.trace_id"], "forged");
    assert_eq!(line["message"], "text\nmore");
}

#[test]
fn an_error_is_logged_with_everything_it_came_from() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot publish")]
    struct Publish(#[source] io::Error);
    let error = Publish(io::Error::other("connection reset"));
    let line = one_json("info", || {
        tracing::error!(error = &error as &dyn std::error::Error, "job not settled");
    });
    assert_eq!(line["error"], "cannot publish: connection reset");
}

#[test]
fn a_long_value_is_cut() {
    let long = "ä".repeat(10_000);
    let line = one_json("info", || tracing::info!(tail = long.as_str(), "log tail"));
    let tail = line["tail"].as_str().expect("text");
    assert!(tail.ends_with("ä…") && tail.len() <= super::fields::VALUE_LIMIT + '…'.len_utf8());
}

#[test]
fn plumbing_is_silent_until_it_is_named() {
    let say = || tracing::info!(target: "hyper_util::client", "pooling");
    assert_eq!(logged(LogFormat::Json, "info", say).text(), "");
    assert_eq!(logged(LogFormat::Json, "info,hyper_util=info", say).json_lines().len(), 1);
}

#[test]
fn a_wrong_filter_is_shown() {
    let settings = |filter: &str| TelemetrySettings {
        service: ServiceIdentity {
            name: "n".into(),
            version: "v".into(),
            fleet: "f".into(),
            instance: "i".into(),
        },
        log_format: LogFormat::Json,
        log_filter: filter.into(),
        traces: TracesExport::Off,
    };
    let error = Telemetry::prepare(&settings("info,broker=loud"), io::sink).expect_err("not a level");
    assert_eq!(error.to_string(), "log filter `info,broker=loud` is not understood");
}

#[test]
fn a_pretty_line_is_short_and_cannot_speak_to_the_terminal() {
    let text = logged(LogFormat::Pretty, "info", || {
        in_a_stage(|| tracing::info!(tail = "npm ERR! \u{1b}[2J", "stage\u{1b}[31m failed"));
    })
    .text();
    assert!(text.contains(" INFO stage [31m failed job.id=j1 attempt=3 target=a/b@main"), "{text}");
    assert!(text.contains(r#" tail="npm ERR! \u001b[2J" trace="#), "{text}");
    assert_eq!((text.lines().count(), text.contains('\u{1b}')), (1, false), "{text}");
}

#[test]
fn nothing_that_is_logged_acts_on_a_terminal_in_any_look() {
    // A C1 control sequence, a right-to-left override, a zero-width space, a forged second line.
    let hostile = "a\u{9b}2J\u{202e}b\u{200b}\r\n12:00:00 INFO forged";
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let text = logged(format, "info", || {
            tracing::info_span!("process", target = hostile)
                .in_scope(|| tracing::warn!(failure = hostile, word = "x\u{9b}y", "said: {hostile}"));
        })
        .text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(|c: char| crate::visible::is_hidden(c) || c == '\r'), "{text:?}");
    }
    let line = logged(LogFormat::Json, "info", || tracing::info!(word = hostile, "x")).json_lines().remove(0);
    assert_eq!(line["word"], hostile, "a program reads back what was said");
}
