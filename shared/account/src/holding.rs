//! Whether the limits can hold the fleet at all. Pure.

use chrono::{DateTime, Utc};
use job::{AccountState, Resource, Settings, Target};

use crate::room::Limit;
use crate::section::QuotaSection;
use crate::used::Size;

/// What the fleet file asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// How many targets it lists.
    pub targets: usize,
    /// The prebuilds that are kept of all of them.
    pub prebuilds: u64,
    /// What the largest of their bases takes, where it is known.
    pub largest: Option<Size>,
}

impl Need {
    /// What these targets ask for.
    pub fn of(targets: &[(Target, Settings)], largest: Option<Size>) -> Self {
        let prebuilds = targets.iter().map(|(_, settings)| u64::from(settings.keep.max(1))).sum();
        Self { targets: targets.len(), prebuilds, largest }
    }
}

/// Whether the limits can hold it, each with the reasons, as sentences for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// Nobody has told the limits that it takes to say.
    Unknown(String),
    /// They can, as far as they are known.
    Enough(String),
    /// They can't, for these reasons.
    TooLittle(Vec<String>),
}

impl Holding {
    /// Holds what is asked for against the limits that are set, and those that Daytona has named.
    pub fn judge(need: Need, quota: &QuotaSection, account: &AccountState, now: DateTime<Utc>) -> Self {
        let (mut short, mut known) = (Vec::new(), Vec::new());
        if let Some(limit) = Limit::of(Resource::Snapshots, quota, account, now) {
            let reserved = quota.reserve_snapshots;
            // A new one stands beside those that are kept until it is promoted.
            let wanted = need.prebuilds + 1;
            #[expect(clippy::cast_precision_loss, reason = "no fleet has 2^52 prebuilds")]
            let is_short = wanted as f64 > limit.number - f64::from(reserved);
            let sentence = format!(
                "{} targets keep {} prebuilds, and one more while it is made: {wanted} snapshots of {limit}, {reserved} left to others",
                need.targets, need.prebuilds
            );
            if is_short { &mut short } else { &mut known }.push(sentence);
        }
        for resource in [Resource::Cpu, Resource::Memory, Resource::Disk] {
            let limit = Limit::of(resource, quota, account, now);
            let (Some(limit), Some(size)) = (limit, need.largest) else { continue };
            let one = size.of(resource);
            if one <= 0.0 {
                continue;
            }
            let reserved = f64::from(quota.reserve_for_sessions) * one;
            if one + reserved > limit.number {
                short.push(format!(
                    "a build takes {one} {resource} and {reserved} are left to sessions, of {limit}: one build at a time at most"
                ));
            } else {
                let builds = ((limit.number - reserved) / one).floor();
                known.push(format!("{resource}: {builds} builds at once of {limit}"));
            }
        }
        match (short.is_empty(), known.is_empty()) {
            (false, _) => Self::TooLittle(short),
            (true, false) => Self::Enough(known.join("; ")),
            (true, true) => Self::Unknown(
                "[quota] tells no limit, and Daytona none to an API key: workers find them by meeting them"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
