//! What an operator did, as the ledger has it.

use broker::{PublishError, Publisher};
use chrono::Utc;
use job::{LedgerEntry, LedgerEvent};

/// Writes to the ledger in an operator's name.
#[derive(Debug)]
pub(crate) struct OperatorActs {
    operator: String,
}

impl OperatorActs {
    pub(crate) fn new(operator: String) -> Self {
        Self { operator }
    }

    /// The name of the operator who acts.
    pub(crate) fn operator(&self) -> &str {
        &self.operator
    }

    /// Writes that the operator did this just now.
    pub(crate) async fn record(
        &self,
        publisher: &Publisher,
        act: LedgerEvent,
        trace_id: Option<String>,
    ) -> Result<(), PublishError> {
        publisher.publish_ledger(&LedgerEntry::new(Utc::now(), &self.operator, act).in_trace(trace_id)).await
    }
}
