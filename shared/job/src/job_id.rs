//! A job's id. That of a scheduled job follows from fleet, tick and target, so that two producers, or one that publishes a
//! tick again, give one job one id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{FleetName, Target, Tick};

/// Namespace of the ids of scheduled jobs, so that two producers give one job one id.
const SCHEDULED_NAMESPACE: Uuid = Uuid::from_u128(0x5f0e_7c1a_9b0d_5a4e_8f63_2d1c_6b7a_4e90);

/// A job's id: v5 of fleet, tick and target when scheduled, v7 otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The one id of this target's job at this tick, whichever producer makes it.
    pub fn scheduled(fleet: &FleetName, tick: Tick, target: &Target) -> Self {
        let name = format!("{fleet}\n{tick}\n{}", target.key());
        Self(Uuid::new_v5(&SCHEDULED_NAMESPACE, name.as_bytes()))
    }

    /// A new id for a job somebody asked for.
    pub fn on_demand() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_scheduled_job_has_one_id_whoever_makes_it() {
        let fleet: FleetName = "demo".parse().unwrap();
        let target: Target = "Owner/Name@main".parse().unwrap();
        let same: Target = "owner/name@main".parse().unwrap();
        let tick = Tick::at_or_before("2026-11-23T10:29:59Z".parse().unwrap(), Duration::from_mins(30));
        assert_eq!(tick.to_string(), "2026-11-23T10:00:00Z");
        let id = JobId::scheduled(&fleet, tick, &target);
        assert_eq!(id, JobId::scheduled(&fleet, tick, &same));
        assert_eq!(id.0.get_version_num(), 5);
        assert_ne!(id, JobId::scheduled(&fleet, tick.next(Duration::from_mins(30)), &target));
        assert_ne!(id, JobId::scheduled(&"other".parse().unwrap(), tick, &target));
        assert_eq!(JobId::on_demand().0.get_version_num(), 7);
    }
}
