use std::fmt::Write as _;

use job::{AttemptId, DeadLetterReason, Failure, FailureKind, OutcomeWord, Scope};
use proptest::prelude::*;

use super::*;

/// What the AMQP client writes for a table, counted by the protocol's rules.
fn encoded_bytes(table: &FieldTable) -> usize {
    let values = table.inner().iter().map(|(key, value)| {
        let value_bytes = match text_of(value) {
            Some(text) => 4 + text.len(),
            None => 8,
        };
        1 + key.as_str().len() + 1 + value_bytes
    });
    4 + values.sum::<usize>()
}

fn summary(number: u32, worker: &str) -> AttemptSummary {
    AttemptSummary {
        number,
        attempt: AttemptId::new(),
        ended_at: Utc::now(),
        outcome: OutcomeWord::Failed,
        failure: Some(FailureKind::CaptureSilent),
        stage: None,
        worker: worker.to_owned(),
    }
}

fn envelope(text: &str) -> Envelope {
    let trace =
        [("traceparent".to_owned(), text.to_owned()), ("tracestate".to_owned(), text.to_owned())].into();
    let mut envelope = Envelope::first("2026-11-23T10:00:00Z".parse().unwrap(), trace);
    envelope.attempt = 3;
    envelope.history = (0..20).map(|number| summary(number, text)).collect();
    envelope.last_error = Some(text.to_owned());
    envelope.previous_attempt_trace = Some(text.to_owned());
    envelope.leases_seen = vec![lease_seen(text), lease_seen(&text[..text.floor_char_boundary(9)])];
    envelope.replay = Some(uuid::Uuid::now_v7());
    envelope
}

fn lease_seen(text: &str) -> LeaseSeen {
    LeaseSeen {
        sandbox: text.to_owned(),
        sign: text.to_owned(),
        since: Utc::now(),
        silent_ms: 90_000,
        waited_ms: 120_000,
    }
}

fn record(text: &str, tail: &str) -> DeadLetterRecord {
    let failure = Failure::new(FailureKind::CaptureSilent, text)
        .with_scope(Scope::GitHost(text.to_owned()))
        .with_output(Some(1), Tail::of(tail));
    DeadLetterRecord {
        reason: DeadLetterReason::Failed,
        at: Utc::now(),
        worker: text.to_owned(),
        job: None,
        target: None,
        failure: Some(failure),
        decode_error: Some(text.to_owned()),
        cut: None,
        queue: text.to_owned(),
        trace_id: Some(text.to_owned()),
    }
}

#[test]
fn an_envelope_comes_back_as_it_was_written() {
    let mut written = envelope("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    written.history.truncate(10);
    let table = HeaderWriter::of(&written, WorkQueue::OnDemand, Some("2026-11-23T10:00:00Z".into())).finish();
    let reader = HeaderReader::new(Some(&table));
    assert_eq!(reader.home(), Some(WorkQueue::OnDemand));
    let read = reader.envelope(Utc::now());
    assert_eq!(read.unreadable, Vec::<&str>::new());
    assert_eq!(read.envelope, written);
}

#[test]
fn leases_are_as_many_as_fit_and_one_of_before_is_read() {
    let mut written = envelope("short");
    written.leases_seen = ["1", "2", "3", "4"].map(|end| lease_seen(&end.repeat(120))).into();
    let table = HeaderWriter::of(&written, WorkQueue::Refresh, None).finish();
    let read = HeaderReader::new(Some(&table)).envelope(Utc::now()).envelope;
    assert_eq!(read.leases_seen, written.leases_seen[..2]);

    let mut table = FieldTable::default();
    table.insert(LEASE_SEEN.into(), AMQPValue::LongString(json(&written.leases_seen[0]).into()));
    let read = HeaderReader::new(Some(&table)).envelope(Utc::now()).envelope;
    assert_eq!(read.leases_seen, written.leases_seen[..1]);
}

#[test]
fn a_strangers_message_is_a_first_attempt_with_unreadable_named() {
    let sent: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
    let read = HeaderReader::new(None).envelope(sent);
    assert_eq!((read.envelope.attempt, read.envelope.first_enqueued), (1, sent));

    let mut table = FieldTable::default();
    table.insert(ATTEMPT.into(), AMQPValue::LongString("many".into()));
    table.insert(HISTORY.into(), AMQPValue::LongString(b"\xff[".as_slice().into()));
    table.insert(FIRST_ENQUEUED.into(), AMQPValue::LongLongInt(7));
    let read = HeaderReader::new(Some(&table)).envelope(sent);
    assert_eq!(read.envelope, Envelope::first(sent, BTreeMap::new()));
    assert_eq!(read.unreadable, [ATTEMPT, FIRST_ENQUEUED, HISTORY]);
}

#[test]
fn a_dead_letter_record_keeps_the_end_of_the_log() {
    let mut log = String::new();
    for line in 0..5000 {
        writeln!(log, "line {line} of a \"quoted\" log").unwrap();
    }
    let envelope = envelope("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let table =
        HeaderWriter::of(&envelope, WorkQueue::Refresh, None).with_record(&record("short", &log)).finish();
    let read = HeaderReader::new(Some(&table)).record().unwrap().failure.unwrap();
    assert!(read.log_tail.as_str().ends_with("line 4999 of a \"quoted\" log\n"));
    assert!(read.log_tail.as_str().len() > 4 * 1024, "{}", read.log_tail.as_str().len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn headers_never_grow_beyond_their_bound(text in "\\PC{0,3000}|\u{1}{0,3000}", tail in "[\u{0}-\u{1f}é\n]{0,40000}") {
        let written = HeaderWriter::of(&envelope(&text), WorkQueue::Resume, Some("tick".into())).with_record(&record(&text, &tail));
        let counted = written.bytes();
        let table = written.finish();
        prop_assert!(encoded_bytes(&table) <= counted, "the count is too low");
        prop_assert!(encoded_bytes(&table) + RESERVE_BYTES / 2 <= MAX_HEADER_BYTES, "{} bytes", encoded_bytes(&table));
        prop_assert!(HeaderReader::new(Some(&table)).record().is_some());
    }
}
