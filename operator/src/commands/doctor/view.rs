//! The doctor's findings. Pure.

use serde::Serialize;

use crate::output::View;

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was checked, by its name.
    pub(super) check: String,
    #[serde(flatten)]
    pub(super) finding: Finding,
}

/// What was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub(super) enum Finding {
    /// It is as it must be.
    Ok { detail: String },
    /// It works, and somebody should know.
    Warning { detail: String, remedy: String },
    /// It does not work.
    Failed { detail: String, remedy: String },
    /// It could not be checked, because of what failed before.
    Skipped { detail: String },
}

impl Check {
    pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), finding: Finding::Ok { detail: detail.into() } }
    }

    pub(super) fn warning(
        check: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let finding = Finding::Warning { detail: detail.into(), remedy: remedy.into() };
        Self { check: check.into(), finding }
    }

    pub(super) fn failed(
        check: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let finding = Finding::Failed { detail: detail.into(), remedy: remedy.into() };
        Self { check: check.into(), finding }
    }

    pub(super) fn skipped(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), finding: Finding::Skipped { detail: detail.into() } }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.finding, Finding::Failed { .. })
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct DoctorView {
    pub(crate) ok: bool,
    pub(super) checks: Vec<Check>,
}

impl DoctorView {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        Self { ok: !checks.iter().any(Check::has_failed), checks }
    }
}

impl View for DoctorView {
    fn text(&self) -> String {
        let width = self.checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
        let mut text = Vec::new();
        for check in &self.checks {
            let (word, detail, remedy) = match &check.finding {
                Finding::Ok { detail } => ("ok", detail, None),
                Finding::Warning { detail, remedy } => ("warn", detail, Some(remedy)),
                Finding::Failed { detail, remedy } => ("FAIL", detail, Some(remedy)),
                Finding::Skipped { detail } => ("skip", detail, None),
            };
            let mut lines = detail.lines();
            let first = lines.next().unwrap_or_default();
            text.push(format!("{word:4}  {:width$}  {first}", check.check).trim_end().to_owned());
            let rest = lines.map(str::to_owned).chain(remedy.map(|remedy| format!("-> {remedy}")));
            text.extend(rest.map(|line| format!("{:4}  {:width$}  {line}", "", "")));
        }
        let failed = self.checks.iter().filter(|check| check.has_failed()).count();
        text.push(match failed {
            0 => "\nall is well\n".to_owned(),
            1 => "\n1 check failed\n".to_owned(),
            many => format!("\n{many} checks failed\n"),
        });
        text.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        vec![
            Check::ok("settings", "fleet demo"),
            Check::failed("RabbitMQ", "not reachable\nrefused", "check AMQP_URL"),
            Check::warning("quota", "4 of 5 snapshots", "ask for more"),
            Check::skipped("topology", "RabbitMQ cannot be reached"),
        ]
    }

    #[test]
    fn each_failure_says_what_to_do() {
        insta::assert_snapshot!(DoctorView::new(checks()).text());
        insta::assert_json_snapshot!(DoctorView::new(checks()));
    }

    #[test]
    fn only_failures_make_it_fail() {
        let mut checks = checks();
        assert!(!DoctorView::new(checks.clone()).ok);
        checks.remove(1);
        assert!(DoctorView::new(checks).ok);
    }
}
