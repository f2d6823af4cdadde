//! Everything about one target, in words. Pure.

use job::{Commit, StageReport};

use super::{AttemptView, ExplainView, Lease};
use crate::layout::{format_rows, format_table};
use crate::output::View;
use crate::time::{ago, at, length};
use crate::views::PrebuildView;

impl View for ExplainView {
    fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.target);
        let mut rows = vec![("next tick", self.next_tick.sentence()), ("prebuild", self.prebuild())];
        if let Some(gone) = &self.gone {
            rows.push(("fleet file", gone.sentence()));
        }
        if !self.kept.is_empty() {
            let kept: Vec<String> =
                self.kept.iter().map(|kept| format!("{} ({})", kept.name, in_daytona(kept))).collect();
            rows.push(("kept", kept.join("\n")));
        }
        rows.push((
            "last outcome",
            self.last.as_ref().map_or("none yet".to_owned(), |last| last.sentence(self.at)),
        ));
        if let Some(failing) = &self.failing {
            let commit = failing.commit.as_ref().map_or("no commit", Commit::short);
            let since = at(failing.since, self.at);
            rows.push((
                "stands",
                format!(
                    "{} at {commit} since {since}, met {} times\n{}",
                    failing.failure.id, failing.count, failing.failure.message
                ),
            ));
        }
        let letters = self.open_dead_letters.iter();
        rows.extend(letters.map(|(kind, job)| {
            ("dead letter", format!("{kind}, job {job}: harvestctl dead-letters show {job}"))
        }));
        rows.push(("lease", self.lease()));
        if let Some(base) = &self.base_snapshot {
            rows.push(("base", format!("{} ({})", base.name, base.id)));
        }
        rows.push(("settings", self.settings()));
        rows.extend(self.notes.iter().map(|note| ("note", note.clone())));
        text.push_str(&format_rows(rows));
        text.push_str(&self.attempts());
        text
    }
}

/// What was looked up of it, or that it was not.
fn in_daytona(prebuild: &PrebuildView) -> String {
    match prebuild.in_daytona.as_deref() {
        Some("missing") => "NOT in Daytona".to_owned(),
        Some(state) => format!("{state} in Daytona"),
        None => "not looked up in Daytona".to_owned(),
    }
}

impl ExplainView {
    fn prebuild(&self) -> String {
        let Some(prebuild) = &self.prebuild else { return "none".to_owned() };
        let mut lines = vec![
            prebuild.name.clone(),
            format!("commit {}, built {}", prebuild.commit_short(), at(prebuild.built_at, self.at)),
            prebuild.quality(),
            in_daytona(prebuild),
        ];
        let cold_start = prebuild.cold_start_milliseconds.map(|started| format!("started in {started}ms"));
        let size = prebuild.size_gb.map(|size| format!("{size} GB"));
        let added = prebuild.added_bytes.map(|bytes| format!("{} more than its base", megabytes(bytes)));
        let facts: Vec<String> = size.into_iter().chain(added).chain(cold_start).collect();
        if !facts.is_empty() {
            lines.push(facts.join(", "));
        }
        lines.push(
            "its recipe and tools: /workspace/.harvest/manifest.json in a sandbox started from it".to_owned(),
        );
        lines.join("\n")
    }

    fn lease(&self) -> String {
        let Lease::Held { sandbox, id, state, created_at, labels, passed_over } = &self.lease else {
            let word = if let Lease::Free = self.lease { "free" } else { "unknown" };
            return word.to_owned();
        };
        let created = created_at.map(|then| format!(", made {}", ago(then, self.at))).unwrap_or_default();
        let labels = labels.iter().map(|(key, value)| format!("{key} = {value}"));
        let first = format!("{sandbox} ({id}) is {state}{created}");
        let stuck = passed_over.iter().map(|name| format!("{name} sticks, and was passed over"));
        std::iter::once(first).chain(labels).chain(stuck).collect::<Vec<_>>().join("\n")
    }

    fn settings(&self) -> String {
        let Some(settings) = &self.settings else { return format!("not in {}", self.settings_from) };
        let value = serde_json::to_value(settings).unwrap_or_default();
        let mut lines = vec![format!("from {}, defaults applied", self.settings_from)];
        lines.extend(value.as_object().into_iter().flatten().map(|(key, value)| format!("{key} = {value}")));
        lines.join("\n")
    }

    fn attempts(&self) -> String {
        if self.attempts.is_empty() {
            return "\nno attempts in the ledger (it is kept for a week)\n".to_owned();
        }
        let row = |attempt: &AttemptView| {
            let failure =
                attempt.failure.as_ref().map(|f| format!(" {} at {}", f.id, f.stage)).unwrap_or_default();
            [
                ago(attempt.at, self.at),
                format!("{}/{}", attempt.number, attempt.max_attempts),
                format!("{}{failure}", attempt.outcome),
                attempt.decision.clone(),
                attempt.commit.as_ref().map_or("-", Commit::short).to_owned(),
                took(attempt.milliseconds),
                list_stages(&attempt.stages),
                attempt.trace_id.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        };
        let header = ["ENDED", "ATTEMPT", "OUTCOME", "DECISION", "COMMIT", "TOOK", "STAGES", "TRACE"];
        format!("\n{}", format_table(header, self.attempts.iter().map(row)))
    }
}

fn list_stages(stages: &[StageReport]) -> String {
    if stages.is_empty() {
        return "-".to_owned();
    }
    let show = |report: &StageReport| {
        let result = if report.result == "ok" { String::new() } else { format!(" {}", report.result) };
        let added =
            report.added_bytes.map(|bytes| format!(" {}", signed_megabytes(bytes))).unwrap_or_default();
        format!("{}{result} {}{added}", report.stage, took(report.milliseconds))
    };
    stages.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// `12.3 MB`, of 10^6 bytes.
fn megabytes(bytes: i64) -> String {
    let tenths = bytes / 100_000;
    let sign = if tenths < 0 { "-" } else { "" };
    format!("{sign}{}.{} MB", tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10)
}

/// The same with its sign, for what was added.
fn signed_megabytes(bytes: i64) -> String {
    let shown = megabytes(bytes);
    if shown.starts_with('-') { shown } else { format!("+{shown}") }
}

fn took(milliseconds: u64) -> String {
    length(std::time::Duration::from_millis(milliseconds))
}
