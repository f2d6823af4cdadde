//! After RabbitMQ has lost its data: notes in the register which prebuilds are left of each target, by their names in Daytona.
//!
//! Only of what attempts of before the register began have made: of anything later the register would know, and what it knows
//! nothing good of was not verified. What is found so is given to sessions, unconfirmed, until the target is built anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Register;
use chrono::{DateTime, Utc};
use daytona::{Client, Snapshot, SnapshotState};
use job::{Concern, FleetName, FoundPrebuild, PrebuildName, SandboxName, Settings, Target};
use tokio::time::{MissedTickBehavior, interval};

use super::Listing;

/// How often it is seen whether the register has begun anew.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks whenever the register has begun anew, for as long as it is let.
pub(super) async fn run(fleet: &FleetName, register: &Register, client: Option<&Client>, listing: &Listing) {
    let Some(client) = client else { return };
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut recovered = None;
    loop {
        looks.tick().await;
        let began = register.fleet().since;
        let Some(listed) = listing.borrow().clone() else { continue };
        let Some(since) = began.filter(|_| began != recovered) else { continue };
        match recover(fleet, register, client, &listed.targets, since).await {
            Ok(Recovered { found, at_work }) => {
                if at_work == 0 {
                    recovered = began;
                }
                if found > 0 {
                    tracing::warn!(
                        found,
                        "the register knew nothing of prebuilds that are there by their names; sessions are given them, unconfirmed, until they are built anew"
                    );
                }
            }
            Err(error) => tracing::warn!(
                error = error_chain::line(error.as_ref()),
                "prebuilds of before the register began are not looked for; the next look tries again"
            ),
        }
    }
}

/// Of how many targets a prebuild was found, and how many an attempt is at work on: those are looked at again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Recovered {
    found: usize,
    at_work: usize,
}

/// Notes the newest prebuild of each target of which the register knows none.
async fn recover(
    fleet: &FleetName,
    register: &Register,
    client: &Client,
    targets: &[(Target, Settings)],
    since: DateTime<Utc>,
) -> Result<Recovered, Box<dyn std::error::Error + Send + Sync>> {
    let is_unknown = |target: &&Target| {
        register.get(target).is_none_or(|state| state.promotion.is_none() && state.found.is_none())
    };
    let unknown: Vec<&Target> = targets.iter().map(|(target, _)| target).filter(is_unknown).collect();
    if unknown.is_empty() || since == DateTime::UNIX_EPOCH {
        return Ok(Recovered::default());
    }
    // What an attempt has captured is not verified yet. Between build and verification it has no sandbox for a moment.
    let label = lease::fleet_label(fleet);
    let mut sandboxes = client.list_sandboxes(&label).await?;
    let snapshots = client.list_snapshots(&SandboxName::fleet_prefix(fleet)).await?;
    sandboxes.extend(client.list_sandboxes(&label).await?);
    let names: BTreeSet<&str> = sandboxes.iter().map(|sandbox| sandbox.name.as_str()).collect();
    let mut newest = newest_of_before(snapshots, since);
    let mut recovered = Recovered::default();
    for target in unknown {
        let name = SandboxName::of(fleet, target);
        let Some(prebuild) = newest.remove(name.as_str()) else { continue };
        if name.all_of_target().iter().any(|name| names.contains(name.as_str())) {
            recovered.at_work += 1;
            continue;
        }
        register.note(target, Concern::Found(prebuild)).await?;
        recovered.found += 1;
    }
    Ok(recovered)
}

/// The newest usable prebuild of each sandbox name that was begun before `since`.
fn newest_of_before(snapshots: Vec<Snapshot>, since: DateTime<Utc>) -> BTreeMap<String, FoundPrebuild> {
    let mut newest: BTreeMap<String, FoundPrebuild> = BTreeMap::new();
    for snapshot in snapshots {
        let Ok(name) = snapshot.name.parse::<PrebuildName>() else { continue };
        // Nothing starts from one that Daytona has put to sleep, and waking it would lose it.
        if snapshot.state != SnapshotState::Active || name.attempt().time() >= since {
            continue;
        }
        let sandbox = name.sandbox().to_string();
        if newest.get(&sandbox).is_some_and(|known| known.name.attempt() > name.attempt()) {
            continue;
        }
        let (snapshot_id, built_at) = (snapshot.id.to_string(), snapshot.created_at);
        newest.insert(sandbox, FoundPrebuild { name, snapshot_id, built_at });
    }
    newest
}

#[cfg(test)]
mod tests {
    use job::AttemptId;
    use serde_json::json;

    use super::*;

    fn snapshot(target: &str, attempt: AttemptId, state: &str) -> Snapshot {
        let commit = "a".repeat(40).parse().unwrap();
        let fingerprint = job::Fingerprint::from_hex(&"9".repeat(64)).unwrap();
        let sandbox = SandboxName::of(&"demo".parse().unwrap(), &target.parse().unwrap());
        let name = PrebuildName::new(sandbox, &commit, &fingerprint, job::BuildMode::Cold, attempt);
        serde_json::from_value(json!({ "id": attempt.to_string(), "name": name.to_string(), "state": state }))
            .unwrap()
    }

    #[test]
    fn the_newest_usable_one_of_before_is_found() {
        let [first, second, third] = [(); 3].map(|()| AttemptId::new());
        let (one, other) = ("acme/one@main", "acme/other@main");
        let snapshots = vec![
            snapshot(one, first, "active"),
            snapshot(one, second, "active"),
            snapshot(one, third, "inactive"),
            snapshot(other, third, "error"),
            serde_json::from_value(json!({ "id": "1", "name": "somebody's", "state": "active" })).unwrap(),
        ];
        let found = newest_of_before(snapshots.clone(), Utc::now() + chrono::TimeDelta::seconds(1));
        let attempts: Vec<AttemptId> = found.values().map(|found| found.name.attempt()).collect();
        assert_eq!(attempts, [second]);
        assert_eq!(newest_of_before(snapshots, first.time()), BTreeMap::new());
    }
}
