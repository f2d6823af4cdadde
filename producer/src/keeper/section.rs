//! The keeper's knobs.

use std::time::Duration;

use serde::Deserialize;

/// The section `[keeper]`: what the active producer does for the fleet as a whole.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeeperSection {
    /// How often sandboxes that dead workers left are looked for.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
    /// How often the fleet's prebuilds are looked through for those that nobody is given any more.
    #[serde(with = "humantime_serde")]
    pub collect: Duration,
    /// How long a prebuild that is no longer kept stays after a sandbox was last started from it.
    #[serde(with = "humantime_serde")]
    pub in_use: Duration,
    /// How long a target has to be gone from the fleet file before its prebuilds are removed.
    #[serde(with = "humantime_serde")]
    pub gone: Duration,
}
