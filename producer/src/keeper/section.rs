//! The keeper's knobs.

use std::time::Duration;

use serde::Deserialize;

/// What becomes of prebuilds that no session starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Daytona puts them to sleep, and their targets are built anew then.
    Sleep,
    /// The keeper starts a sandbox from each in time, and deletes it.
    Awake,
}

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
    /// What becomes of prebuilds that no session starts from.
    pub idle: Idle,
    /// After how long without a start Daytona puts a snapshot to sleep, as the organization has it set.
    #[serde(with = "humantime_serde")]
    pub sleeps_after: Duration,
    /// On how many of Daytona's runners a new prebuild is started from once it is promoted; 0 or 1 is the one of its verification.
    pub warm_runners: u32,
}
