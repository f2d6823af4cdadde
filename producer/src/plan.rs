//! The jobs of a tick: one per target, the target with the oldest prebuild first. Pure.

use chrono::{DateTime, Utc};
use daytona::BaseIds;
use job::{FleetName, Job, Settings, Target, Tick};

/// The jobs of this tick, in the order in which they are published. `bases` has the id behind each base snapshot's name, as
/// far as it is known. `promoted_at` says how old the prebuild of a target is; a target without one comes first.
pub(crate) fn plan_jobs(
    fleet: &FleetName,
    tick: Tick,
    targets: &[(Target, Settings)],
    bases: &BaseIds,
    promoted_at: impl Fn(&Target) -> Option<DateTime<Utc>>,
) -> Vec<Job> {
    let mut ordered: Vec<_> =
        targets.iter().map(|(target, settings)| (promoted_at(target), target, settings)).collect();
    // Stable: targets of one age stay in the order of the file.
    ordered.sort_by_key(|(promoted_at, _, _)| *promoted_at);
    let job = |(_, target, settings): (_, &Target, &Settings)| {
        let base_snapshot_id = bases.id_of(&settings.base_snapshot).map(ToString::to_string);
        Job::scheduled(fleet, tick, target, settings, base_snapshot_id)
    };
    ordered.into_iter().map(job).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daytona::SnapshotId;
    use job::{JobId, Reason};
    use settings::FleetFile;

    use super::*;

    #[test]
    fn the_oldest_comes_first_and_ids_do_not_depend_on_the_order() {
        let mut text =
            ["a", "b", "c", "d"].map(|name| format!("[[repository]]\nname = \"o/{name}\"\n")).concat();
        text.push_str("base_snapshot = \"unknown\"\n");
        let targets = FleetFile::new("fleet.toml").understand(&text).unwrap().targets;
        let fleet: FleetName = "demo".parse().unwrap();
        let tick = Tick::at_or_before("2026-11-23T10:00:00Z".parse().unwrap(), Duration::from_mins(30));
        let hour = |hour: u32| Some(format!("2026-11-23T{hour:02}:00:00Z").parse().unwrap());
        let bases = BaseIds::from_iter([("harvest-snapshot".to_owned(), SnapshotId::new("base-1"))]);
        let planned = plan_jobs(&fleet, tick, &targets, &bases, |target| match target.name() {
            "a" => hour(9),
            "c" => hour(7),
            _ => None,
        });
        let names: Vec<&str> = planned.iter().map(|job| job.target.name()).collect();
        assert_eq!(names, ["b", "d", "c", "a"]);
        assert_eq!(planned[3].id, JobId::scheduled(&fleet, tick, &targets[0].0));
        assert_eq!(planned[0].reason, Reason::Scheduled { tick });
        let ids: Vec<Option<&str>> = planned.iter().map(|job| job.base_snapshot_id.as_deref()).collect();
        assert_eq!(ids, [Some("base-1"), None, Some("base-1"), Some("base-1")], "d's base is not known");
    }
}
