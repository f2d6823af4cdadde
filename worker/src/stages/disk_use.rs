//! How much of the disk each stage took: what it added is what a capture writes, and what a session's first start pulls.
//!
//! From install on the sandbox is the repository's, and so is its answer: it is shown and compared, and nothing is decided by it.

use std::time::Duration;

use job::Stage;

use crate::attempt::Attempt;
use crate::sandbox::{Environment, Sandbox};

const SCRIPT: &str = include_str!("disk_use/used.sh");
/// A tree that takes longer to walk is not measured.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any disk has.
const MOST: i64 = 1 << 50;

/// What lay in the sandbox before anything was put there, and when it was last looked.
#[derive(Debug, Default)]
pub(crate) struct DiskUse {
    base: Option<i64>,
    last: Option<i64>,
    /// It took too long once: so it would again.
    is_given_up: bool,
}

impl DiskUse {
    /// Measures before the first stage.
    pub(crate) async fn begin(sandbox: &Sandbox) -> Self {
        let base = measure(sandbox, Stage::Checkout).await;
        Self { base, last: base, is_given_up: base.is_none() }
    }

    /// Notes what the stage that is about to end has added.
    pub(crate) async fn note(&mut self, sandbox: &Sandbox, attempt: &Attempt, stage: Stage) {
        let now = if self.is_given_up { None } else { measure(sandbox, stage).await };
        self.is_given_up = now.is_none();
        if let (Some(now), Some(last)) = (now, self.last) {
            attempt.note_added(stage, now - last);
        }
        self.last = now;
    }

    /// What all stages together added, where it was measured to the end.
    pub(crate) fn added(&self) -> Option<i64> {
        Some(self.last? - self.base?)
    }
}

async fn measure(sandbox: &Sandbox, stage: Stage) -> Option<i64> {
    match sandbox.short(stage, SCRIPT, &Environment::new(), PATIENCE).await {
        Ok(executed) => {
            let bytes = executed.result.trim().parse().ok();
            bytes.filter(|bytes| (0..MOST).contains(bytes))
        }
        Err(failure) => {
            // Whatever is wrong with the sandbox, the next step finds out.
            tracing::debug!(%stage, failure = failure.message, "the disk was not measured");
            None
        }
    }
}
