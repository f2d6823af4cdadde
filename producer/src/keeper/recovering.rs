//! After RabbitMQ has lost its data: notes in the register which prebuilds are left of each target, by their names in Daytona.
//!
//! Only of what attempts of before the register began have made: of anything later the register would know, and what it knows
//! nothing good of was not verified. What is found so is given to sessions, unconfirmed, until the target is built anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Register;
use chrono::{DateTime, Utc};
use daytona::{Client, Snapshot, SnapshotState};
use job::{AttemptId, Concern, FleetName, FoundPrebuild, PrebuildName, SandboxName, Target};
use lease::attempts_at_work;
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
            Ok(found) => {
                recovered = began;
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

/// Notes the newest prebuild of each target of which the register knows none. Answers of how many.
async fn recover(
    fleet: &FleetName,
    register: &Register,
    client: &Client,
    targets: &[Target],
    since: DateTime<Utc>,
) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let is_unknown = |target: &&Target| {
        register.get(target).is_none_or(|state| state.promotion.is_none() && state.found.is_none())
    };
    let unknown: Vec<&Target> = targets.iter().filter(is_unknown).collect();
    if unknown.is_empty() || since == DateTime::UNIX_EPOCH {
        return Ok(0);
    }
    let snapshots = client.list_snapshots(&SandboxName::fleet_prefix(fleet)).await?;
    let at_work = attempts_at_work(&client.list_sandboxes(&lease::fleet_label(fleet)).await?);
    let mut newest = newest_of_before(snapshots, since, &at_work);
    let mut found = 0;
    for target in unknown {
        let Some(prebuild) = newest.remove(SandboxName::of(fleet, target).as_str()) else { continue };
        register.note(target, Concern::Found(prebuild)).await?;
        found += 1;
    }
    Ok(found)
}

/// The newest usable prebuild of each sandbox name that was begun before `since`, and that no attempt at work has captured.
fn newest_of_before(
    snapshots: Vec<Snapshot>,
    since: DateTime<Utc>,
    at_work: &BTreeSet<AttemptId>,
) -> BTreeMap<String, FoundPrebuild> {
    let mut newest: BTreeMap<String, FoundPrebuild> = BTreeMap::new();
    for snapshot in snapshots {
        let Ok(name) = snapshot.name.parse::<PrebuildName>() else { continue };
        // Waking one that Daytona has put to sleep may lose it.
        if snapshot.state != SnapshotState::Active
            || name.attempt().time() >= since
            || at_work.contains(&name.attempt())
        {
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
    use chrono::TimeDelta;
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
    fn the_newest_of_before_that_nobody_works_on_is_found() {
        let [first, second, third, working] = [(); 4].map(|()| AttemptId::new());
        let (one, other) = ("acme/one@main", "acme/other@main");
        let snapshots = vec![
            snapshot(one, first, "active"),
            snapshot(one, second, "active"),
            snapshot(one, third, "inactive"),
            snapshot(one, working, "active"),
            snapshot(other, third, "error"),
            serde_json::from_value(json!({ "id": "1", "name": "somebody's", "state": "active" })).unwrap(),
        ];
        let later = working.time() + TimeDelta::milliseconds(1);
        let found = newest_of_before(snapshots.clone(), later, &BTreeSet::from([working]));
        let attempts: Vec<AttemptId> = found.values().map(|found| found.name.attempt()).collect();
        assert_eq!(attempts, [second]);
        assert_eq!(newest_of_before(snapshots, first.time(), &BTreeSet::new()), BTreeMap::new());
    }
}
