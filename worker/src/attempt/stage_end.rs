//! How a stage ended, in the words of its span and of its report.

use job::OutcomeWord;
use tracing::Span;

use crate::early_end::EarlyEnd;

/// How a stage ended, as its span and its report say it.
#[derive(Debug, Clone, Copy)]
pub(super) enum StageEnd {
    Success,
    /// It ended the attempt with this outcome, and nothing is wrong.
    Skip(OutcomeWord),
    /// It ended the attempt with the failure of this id.
    Failure(&'static str),
}

impl StageEnd {
    pub(super) fn of<T>(result: &Result<T, EarlyEnd>) -> Self {
        match result {
            // That there is something to resolve again is what the stage was to find out: nothing failed, the attempt goes on.
            Ok(_) | Err(EarlyEnd::ResolveAgain(_)) => Self::Success,
            Err(EarlyEnd::Outcome(outcome)) => match outcome.failure() {
                Some(failure) => Self::Failure(failure.id.id()),
                None => Self::Skip(outcome.word()),
            },
        }
    }

    /// The word in the stage's span.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Skip(_) => "skip",
            Self::Failure(_) => "failure",
        }
    }

    /// The word in the stage's report, and so in ledger, manifest and metrics.
    pub(super) fn result(self) -> &'static str {
        match self {
            Self::Success => "ok",
            Self::Skip(outcome) => outcome.as_str(),
            Self::Failure(id) => id,
        }
    }

    pub(super) fn record(self, span: &Span) {
        span.record("cicd.pipeline.task.run.result", self.word());
        if let Self::Failure(id) = self {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", id);
        }
    }
}

#[cfg(test)]
mod tests {
    use job::{Failure, FailureKind, Outcome};

    use super::*;
    use crate::early_end::ResolveAgain;

    #[test]
    fn only_what_ends_the_attempt_is_a_stages_own_end() {
        let words = |end: EarlyEnd| {
            let end = StageEnd::of(&Err::<(), _>(end));
            (end.word(), end.result())
        };
        let failure = Failure::new(FailureKind::CloneAuth, "refused");
        for (end, expected) in [
            (ResolveAgain::CommitGone.into(), ("success", "ok")),
            (ResolveAgain::BaseGone.into(), ("success", "ok")),
            (Outcome::Busy { holder_job: None }.into(), ("skip", "busy")),
            (Outcome::LeaseLost.into(), ("skip", "lease_lost")),
            (Outcome::StillFailing(failure.clone()).into(), ("failure", "clone.auth")),
            (failure.into(), ("failure", "clone.auth")),
        ] {
            assert_eq!(words(end), expected);
        }
        assert_eq!(StageEnd::of(&Ok(())).result(), "ok");
    }
}
