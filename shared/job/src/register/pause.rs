//! A target of which nothing is built for a while, because an operator says so.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What is said of a target that is paused. What it has promoted is given to sessions as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why, for whoever wonders.
    pub reason: String,
    /// The operator who said so.
    pub by: String,
    /// When it was said.
    pub since: DateTime<Utc>,
    /// When it ends by itself; none until an operator resumes the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl Pause {
    /// Whether it has not ended by itself.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
