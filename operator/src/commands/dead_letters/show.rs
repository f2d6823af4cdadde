//! Everything about one dead letter. Pure.

use broker::DeadLetter;
use chrono::{DateTime, Utc};
use job::{AttemptSummary, Blame, DeadLetterReason, FleetName, Stage};
use serde::Serialize;

use super::bytes::{Bytes, escape};
use super::letter::{Content, LetterView, Promoted, read_content, short_id};
use crate::layout::{format_rows, format_table};
use crate::output::View;
use crate::time::{absolute, at};

/// Everything about a dead letter.
#[derive(Debug, Serialize)]
pub(super) struct WholeLetterView {
    #[serde(flatten)]
    letter: LetterView,
    worker: Option<String>,
    queue: Option<String>,
    stage: Option<Stage>,
    blame: Option<Blame>,
    exit_code: Option<i32>,
    log_tail: Option<String>,
    decode_error: Option<String>,
    /// Whether this version reads the bytes as a job, and if not, why.
    unreadable_now: Option<String>,
    first_enqueued: DateTime<Utc>,
    history: Vec<AttemptSummary>,
    body: Bytes,
    /// Commands that send it again.
    replay: Vec<String>,
    #[serde(skip)]
    now: DateTime<Utc>,
}

/// Makes the view of one letter.
pub(super) fn letter_view(
    letter: &DeadLetter,
    fleet: &FleetName,
    promoted: &Promoted,
    now: DateTime<Utc>,
) -> WholeLetterView {
    let record = letter.record.as_ref();
    let failure = record.and_then(|record| record.failure.as_ref());
    let unreadable_now = match read_content(letter, fleet) {
        Content::Job(_) => None,
        Content::NoJob(error) => Some(error),
        Content::Part(_) => {
            Some("only its beginning was kept; ask for the job anew: harvestctl submit TARGET".to_owned())
        }
    };
    let id = short_id(letter);
    let replay = if unreadable_now.is_some() {
        Vec::new()
    } else {
        vec![
            format!("harvestctl dead-letters replay {id}"),
            format!("harvestctl dead-letters replay {id} --as-recorded"),
        ]
    };
    WholeLetterView {
        letter: LetterView::new(letter, fleet, promoted),
        worker: record.map(|record| record.worker.clone()),
        queue: record.map(|record| record.queue.clone()),
        stage: failure.map(|failure| failure.stage),
        blame: failure.map(job::Failure::blame),
        exit_code: failure.and_then(|failure| failure.exit_code),
        log_tail: failure
            .filter(|failure| !failure.log_tail.is_empty())
            .map(|failure| failure.log_tail.as_str().to_owned()),
        decode_error: record.and_then(|record| record.decode_error.clone()),
        unreadable_now,
        first_enqueued: letter.envelope.first_enqueued,
        history: letter.envelope.history.clone(),
        body: Bytes::of(&letter.body),
        replay,
        now,
    }
}

impl View for WholeLetterView {
    fn text(&self) -> String {
        let mut text = format_rows(self.rows());
        let mut section = |title: &str, body: &str| {
            text.extend(["\n", title, "\n"]);
            for line in body.lines() {
                text.push_str(format!("  {line}").trim_end());
                text.push('\n');
            }
        };
        if !self.history.is_empty() {
            section("earlier attempts", &format_history(&self.history));
        }
        if let Some(log) = &self.log_tail {
            section("end of the output", &escape(log));
        }
        let size = match &self.letter.cut {
            None => format!("{} bytes", self.body.len()),
            Some(cut) => format!("the first {} of {} bytes", cut.kept, cut.bytes),
        };
        section(&format!("message ({size})"), &self.body.text());
        if let Some(error) = &self.unreadable_now {
            let title = match self.letter.cut {
                None => "it can't be sent again as long as it is no job",
                Some(_) => "it can't be sent again",
            };
            section(title, &escape(error));
        } else {
            section("send it again", &self.replay.join("\n"));
        }
        text
    }
}

impl WholeLetterView {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let letter = &self.letter;
        let reason = match letter.reason {
            DeadLetterReason::Failed => "an attempt failed and no other follows",
            DeadLetterReason::Undecodable => "its bytes were no job that the worker could read",
            DeadLetterReason::Broker => "the broker gave up on it (delivery limit)",
        };
        let mut rows = vec![("dead letter", letter.id.clone()), ("reason", reason.to_owned())];
        let mut add = |label, value: Option<String>| rows.extend(value.map(|value| (label, value)));
        add("target", letter.target.as_ref().map(ToString::to_string));
        add(
            "resolved",
            letter.resolved_by.as_ref().map(|built| {
                format!(
                    "the target was built {}: {} in {}",
                    at(built.built_at, self.now),
                    built.commit,
                    built.prebuild
                )
            }),
        );
        add("job", letter.job.map(|job| job.to_string()));
        add("when", Some(at(letter.at, self.now)));
        add("by", self.worker.clone());
        add("from", self.queue.clone());
        add("first enqueued", Some(at(self.first_enqueued, self.now)));
        add("attempt", Some(letter.attempt.to_string()));
        let stage = self.stage.map(|stage| format!(" at {stage}")).unwrap_or_default();
        let blame = self.blame.map(|blame| format!(" (blame: {blame})")).unwrap_or_default();
        add("failure", letter.failure.map(|failure| format!("{failure}{stage}{blame}")));
        add("what it says", Some(escape(&letter.message)));
        add(
            "kept in part",
            letter.cut.as_ref().map(|cut| {
                format!(
                    "{} of {} bytes, for no more can be published; SHA-256 of all: {}",
                    cut.kept, cut.bytes, cut.sha256
                )
            }),
        );
        add("exit code", self.exit_code.map(|code| code.to_string()));
        add("trace", letter.trace_id.clone());
        rows
    }
}

fn format_history(notes: &[AttemptSummary]) -> String {
    let row = |note: &AttemptSummary| {
        let failure = note.failure.map(|failure| format!(" {failure}")).unwrap_or_default();
        let stage = note.stage.map(|stage| format!(" at {stage}")).unwrap_or_default();
        [
            note.number.to_string(),
            absolute(note.ended_at),
            format!("{}{failure}{stage}", note.outcome),
            note.worker.clone(),
        ]
    };
    format_table(["ATTEMPT", "ENDED", "OUTCOME", "WORKER"], notes.iter().map(row))
}
