//! The knobs that everybody who judges a holder has alike.

use std::time::Duration;

use serde::Deserialize;

/// The section `[lease]` of the settings, the same in every program of a fleet.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSection {
    /// How often the holder raises its beat.
    #[serde(with = "humantime_serde")]
    pub beat: Duration,
    /// How long a beat stands still before its holder is dead.
    #[serde(with = "humantime_serde")]
    pub stale: Duration,
    /// How long a name is waited for whose sandbox shows no sign of life and can't be deleted.
    #[serde(with = "humantime_serde")]
    pub stuck: Duration,
}
