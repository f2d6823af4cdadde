//! Whether there is room for another build. Pure.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use job::{AccountState, LimitMet, Resource};

use crate::section::QuotaSection;
use crate::used::{FleetUse, Size};

/// How long a limit that somebody met is not tried again while the fleet has given nothing of it back.
const SANDBOXES_HOLD: TimeDelta = TimeDelta::minutes(1);
/// The same for snapshots, which are missed only after a whole build.
const SNAPSHOTS_HOLD: TimeDelta = TimeDelta::minutes(10);
/// How long the number that Daytona named is believed: organizations are given more.
const NUMBER_BELIEVED: TimeDelta = TimeDelta::hours(1);

/// What a sandbox is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To build in it and to capture it.
    Build,
    /// A capture of what is wanted exists, as far as is known: it may only have to be verified.
    Verify,
}

/// What a build lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Another sandbox, which there may be once some other build ends.
    Sandbox,
    /// Another snapshot, which there may be once an old prebuild is collected.
    Snapshot,
}

/// There is no room.
#[derive(Debug, Clone, PartialEq)]
pub struct Full {
    /// What there is none for.
    pub lack: Lack,
    why: String,
}

impl fmt::Display for Full {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.why)
    }
}

/// Whether a sandbox of this size may be asked for, and a snapshot of it after that where one is to be made, by what is counted
/// and known.
pub fn room_for(
    size: Size,
    purpose: Purpose,
    used: &FleetUse,
    quota: &QuotaSection,
    account: &AccountState,
    now: DateTime<Utc>,
) -> Result<(), Full> {
    let full = |lack, why| Err(Full { lack, why });
    if quota.sandboxes > 0 && used.sandboxes >= f64::from(quota.sandboxes) {
        let why =
            format!("the fleet has {} sandboxes of [quota] sandboxes {}", used.sandboxes, quota.sandboxes);
        return full(Lack::Sandbox, why);
    }
    for met in account.limits_met() {
        let is_asked_for = purpose == Purpose::Build || met.resource != Resource::Snapshots;
        if is_asked_for && is_held(met, used, now) {
            let LimitMet { resource, fleet_had, .. } = met;
            let allowed = met.maximum.map(|maximum| format!(" (at most {maximum})")).unwrap_or_default();
            let why = format!(
                "Daytona had no more {resource}{allowed} at {} with {fleet_had} of the fleet's, which has given none back since",
                met.at.format("%H:%M:%S UTC")
            );
            return full(lack_of(*resource), why);
        }
    }
    for resource in [Resource::Cpu, Resource::Memory, Resource::Disk] {
        let Some(limit) = Limit::of(resource, quota, account, now) else { continue };
        let (has, reserved) =
            (used.of_resource(resource), f64::from(quota.reserve_for_sessions) * size.of(resource));
        // What is kept for sessions does not keep the fleet from ever building.
        let for_fleet = (limit.number - reserved).max(size.of(resource));
        if has + size.of(resource) > for_fleet {
            let why =
                format!("the fleet has {has} {resource} of {limit}, and {reserved} are left to sessions");
            return full(Lack::Sandbox, why);
        }
    }
    if purpose == Purpose::Build
        && let Some(limit) = Limit::of(Resource::Snapshots, quota, account, now)
    {
        let reserved = quota.reserve_snapshots;
        let for_fleet = (limit.number - f64::from(reserved)).max(1.0);
        let has = used.snapshots;
        if has + 1.0 > for_fleet {
            let why = format!("the fleet has {has} snapshots of {limit}, and {reserved} are left to others");
            return full(Lack::Snapshot, why);
        }
        if has + used.sandboxes + 1.0 > for_fleet {
            let why = format!(
                "the fleet has {has} snapshots of {limit}, its {} sandboxes make another each, and {reserved} are left to others",
                used.sandboxes
            );
            return full(Lack::Sandbox, why);
        }
    }
    Ok(())
}

/// Whether Daytona refused something so recently that it may still hold.
pub(crate) fn is_any_believed(account: &AccountState, now: DateTime<Utc>) -> bool {
    account.limits_met().any(|met| (now - met.at).abs() < NUMBER_BELIEVED)
}

fn lack_of(resource: Resource) -> Lack {
    match resource {
        Resource::Cpu | Resource::Memory | Resource::Disk => Lack::Sandbox,
        Resource::Snapshots => Lack::Snapshot,
    }
}

/// Whether asking again would meet the same: nobody waited long enough, and the fleet itself gave nothing back.
fn is_held(met: &LimitMet, used: &FleetUse, now: DateTime<Utc>) -> bool {
    let hold = match met.resource {
        Resource::Cpu | Resource::Memory | Resource::Disk => SANDBOXES_HOLD,
        Resource::Snapshots => SNAPSHOTS_HOLD,
    };
    // A clock that is far ahead of this one holds nobody up.
    (now - met.at).abs() < hold && used.of_resource(met.resource) >= met.fleet_had
}

/// A limit, and who told it.
pub(crate) struct Limit {
    pub(crate) number: f64,
    is_daytonas_word: bool,
    resource: Resource,
}

impl Limit {
    /// The settings' or, where it is less or alone, the number that Daytona named.
    pub(crate) fn of(
        resource: Resource,
        quota: &QuotaSection,
        account: &AccountState,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let is_believed =
            |met: &&LimitMet| met.resource == resource && (now - met.at).abs() < NUMBER_BELIEVED;
        let named = account.limits_met().find(is_believed).and_then(|met| met.maximum);
        match (quota.limit(resource), named) {
            (Some(set), Some(named)) if named < set => Some(named),
            (Some(set), _) => return Some(Self { number: set, is_daytonas_word: false, resource }),
            (None, named) => named,
        }
        .map(|number| Self { number, is_daytonas_word: true, resource })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let knob = match self.resource {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory_gb",
            Resource::Disk => "disk_gb",
            Resource::Snapshots => "snapshots",
        };
        if self.is_daytonas_word {
            write!(out, "{}, which Daytona named", self.number)
        } else {
            write!(out, "[quota] {knob} {}", self.number)
        }
    }
}

#[cfg(test)]
mod tests;
