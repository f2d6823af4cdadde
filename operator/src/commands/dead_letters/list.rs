//! The list of dead letters. Pure.

use broker::DeadLetter;
use chrono::{DateTime, Utc};
use job::FleetName;
use serde::Serialize;

use super::bytes::escape;
use super::letter::{LetterView, Promoted};
use crate::layout::format_table;
use crate::output::View;
use crate::time::ago;

/// The list, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct ListView {
    dead_letters: Vec<LetterView>,
    #[serde(skip)]
    now: DateTime<Utc>,
}

pub(super) fn list_view<L: AsRef<DeadLetter>>(
    letters: &[L],
    fleet: &FleetName,
    promoted: &Promoted,
    now: DateTime<Utc>,
) -> ListView {
    let mut dead_letters: Vec<_> =
        letters.iter().map(|letter| LetterView::new(letter.as_ref(), fleet, promoted)).collect();
    dead_letters.sort_by_key(|letter| letter.at);
    ListView { dead_letters, now }
}

impl View for ListView {
    fn text(&self) -> String {
        if self.dead_letters.is_empty() {
            return "no dead letters\n".to_owned();
        }
        let row = |letter: &LetterView| {
            let failure =
                letter.failure.map_or_else(|| describe_reason(letter), |failure| failure.to_string());
            [
                letter.short_id.clone(),
                ago(letter.at, self.now),
                letter.target.as_ref().map_or("-".to_owned(), ToString::to_string),
                failure,
                letter.resolved_by.as_ref().map_or_else(
                    || one_line(&letter.message),
                    |built| {
                        format!(
                            "resolved: built {}, at {}",
                            ago(built.built_at, self.now),
                            built.commit.short()
                        )
                    },
                ),
            ]
        };
        let mut text = format_table(
            ["ID", "WHEN", "TARGET", "FAILURE", "WHAT IT SAYS"],
            self.dead_letters.iter().map(row),
        );
        text.push_str("\nharvestctl dead-letters show ID tells the whole story, replay ID sends it again\n");
        text
    }
}

fn describe_reason(letter: &LetterView) -> String {
    match letter.reason {
        job::DeadLetterReason::Failed => "failed".to_owned(),
        job::DeadLetterReason::Undecodable => "undecodable".to_owned(),
        job::DeadLetterReason::Broker => "broker gave up".to_owned(),
    }
}

fn one_line(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    escape(&job::truncate(&line, 100))
}
