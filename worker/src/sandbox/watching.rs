//! How a long command is watched.

use std::time::Duration;

/// Intervals and limits of the watch over a long command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// Before the first look.
    pub first: Duration,
    /// The longest between two looks; they grow by half each time.
    pub longest: Duration,
    /// Without an answer for this long, the sandbox is given up.
    pub lost_after: Duration,
    /// Bytes of output kept on the sandbox's disk; twice as many at most.
    pub output_bytes: u64,
    /// A checkout or install that leaves less room than this has failed for want of space.
    pub least_free_bytes: u64,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(3),
            lost_after: Duration::from_mins(2),
            output_bytes: 4 * 1024 * 1024,
            least_free_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Watching {
    pub(super) fn next(&self, interval: Duration) -> Duration {
        (interval * 3 / 2).min(self.longest)
    }
}
