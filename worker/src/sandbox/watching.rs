//! How a long command is watched.

use std::time::Duration;

use serde::Deserialize;

/// The section `[commands]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSection {
    /// The longest between two polls of a long command.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
}

/// Intervals and limits of the watch over a long command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// How long before the first poll.
    pub first: Duration,
    /// The longest between two polls; it grows by half each time.
    pub longest: Duration,
    /// Without an answer for this long, the sandbox is given up.
    pub lost_after: Duration,
    /// Bytes of output kept on the sandbox's disk; twice as many at most.
    pub output_bytes: u64,
    /// A checkout or install that leaves less room than this has failed for want of space.
    pub least_free_bytes: u64,
}

impl Watching {
    /// What the settings say, and what is no setting.
    pub fn new(section: &CommandSection, least_free_bytes: u64) -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: section.poll,
            lost_after: Duration::from_mins(2),
            output_bytes: 4 * 1024 * 1024,
            least_free_bytes,
        }
    }

    pub(super) fn next(&self, interval: Duration) -> Duration {
        (interval * 3 / 2).min(self.longest)
    }
}
