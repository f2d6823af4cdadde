//! Targets that are gone from the fleet file: since when, and which of them lose their prebuilds when. Pure.
//!
//! Invariant: a retirement names the entry that says since when its target is gone, so one that was decided before the target came
//! back is refused. How many there were in a day is counted from the register, whoever decided them.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{EntryVersion, Revoked, TargetState};
use crate::Target;

/// Retirements are bounded within so long.
const DAY: Duration = Duration::days(1);
/// One of so many targets may be retired in a day without a person's word.
const FRACTION: usize = 10;
/// What was retired so long ago is told of no more: by then its snapshots are deleted.
const FORGOTTEN_AFTER: Duration = Duration::days(7);

/// Whether the fleet file has a target, as the active producer read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// It has the target again.
    Listed,
    /// It did not have it any more at this time.
    GoneSince(DateTime<Utc>),
}

/// A target that is gone from the fleet file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoneTarget {
    /// When that was seen first.
    pub since: DateTime<Utc>,
    /// The entry that says so: a retirement names it.
    pub entry: EntryVersion,
    /// When its prebuilds were withdrawn for that, if they were.
    pub retired: Option<DateTime<Utc>>,
}

impl GoneTarget {
    /// Whether nobody needs to know of it any more.
    pub(super) fn is_forgotten(&self, now: DateTime<Utc>) -> bool {
        self.retired.is_some_and(|retired| now - retired >= FORGOTTEN_AFTER)
    }
}

/// The targets that are to be retired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueRetirements {
    /// Those that may be at once, longest gone first.
    pub now: Vec<(Target, EntryVersion)>,
    /// The others, which wait for another day or a person's word.
    pub held: Vec<(Target, EntryVersion)>,
}

/// Which targets have been gone for `patience`, and how many of them may be retired now.
pub fn due_retirements<'a>(
    states: impl IntoIterator<Item = &'a TargetState>,
    listed: &BTreeSet<Target>,
    patience: Duration,
    now: DateTime<Utc>,
) -> DueRetirements {
    let (mut fleet, mut retired) = (listed.len(), 0);
    let mut due = DueRetirements::default();
    let mut counted = Vec::new();
    for state in states {
        // Whatever came of it since: it counts.
        let was_retired = state.revocations.iter().any(|revocation| {
            matches!(revocation.of, Revoked::Retired { .. }) && now - revocation.until < DAY
        });
        retired += usize::from(was_retired && has_prebuilds(state));
        if listed.contains(&state.target) {
            continue;
        }
        let is_over = state.gone.is_some_and(|gone| gone.retired.is_some()) && !was_retired;
        fleet += usize::from(!is_over && has_prebuilds(state));
        let Some(gone) = state.gone.filter(|gone| gone.retired.is_none() && now - gone.since >= patience)
        else {
            continue;
        };
        let target = (state.target.clone(), gone.entry);
        if has_prebuilds(state) {
            counted.push((gone.since, target));
        } else {
            // It has nothing to lose.
            due.now.push(target);
        }
    }
    counted.sort_by_key(|(since, _)| *since);
    let allowed = (fleet / FRACTION).max(1).saturating_sub(retired).min(counted.len());
    let held = counted.split_off(allowed);
    due.now.extend(counted.into_iter().map(|(_, target)| target));
    due.held = held.into_iter().map(|(_, target)| target).collect();
    due
}

/// Whether it has something to lose, or had until it was retired. What was found by its name after a loss is given too.
fn has_prebuilds(state: &TargetState) -> bool {
    state.promotion.is_some() || state.found.is_some()
}

/// What the register has to be told: which targets are gone since now, and which are there again. With mistakes in the file a target
/// that is not among the listed may be one of these.
pub fn listing_changes<'a>(
    states: impl IntoIterator<Item = &'a TargetState>,
    listed: &BTreeSet<Target>,
    mistakes: usize,
    now: DateTime<Utc>,
) -> Vec<(Target, Listing)> {
    let change = |state: &TargetState| match (listed.contains(&state.target), state.gone) {
        (true, Some(_)) => Some((state.target.clone(), Listing::Listed)),
        (false, None) if mistakes == 0 => Some((state.target.clone(), Listing::GoneSince(now))),
        (false, None | Some(_)) | (true, None) => None,
    };
    states.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests;
