//! The names of a target, and who stands under them.

use std::time::Duration;

use chrono::Utc;
use daytona::{Client, Sandbox, SandboxId};
use job::{FleetName, JobId, LeaseSeen, NAMES_OF_A_TARGET, SandboxName, Stage};
use lease::{Labels, LeaseSection, Owner, Sighting, is_stuck, observe};

use super::HeldSandboxes;
use super::rules::{Occupant, PassedOver, occupant};
use crate::early_end::EarlyEnd;
use crate::failures::from_call;

/// A sandbox that stuck, and the sign that it last showed.
pub(super) type Passed = PassedOver<SandboxId, String>;

/// All names of one target, and what tells who stands there.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) client: Client,
    pub(super) section: LeaseSection,
    pub(super) held: HeldSandboxes,
    pub(super) fleet: FleetName,
    pub(super) all: [SandboxName; NAMES_OF_A_TARGET],
}

/// The name that a lease has, and the sandboxes that were passed over for it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) names: Names,
    pub(super) name: SandboxName,
    pub(super) passed: Vec<Passed>,
    /// What was seen of all who stood under the target's names when it was chosen.
    seen: Vec<LeaseSeen>,
}

/// Who stands under one of the names.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) occupant: Occupant,
    pub(super) sandbox: Option<Sandbox>,
    /// The job it says it is of.
    pub(super) job: Option<JobId>,
    /// What was seen of it, where it is another attempt's.
    pub(super) seen: Option<LeaseSeen>,
    /// Whether it was silent for longer than a name is waited for.
    pub(super) is_stuck: bool,
}

impl Found {
    pub(super) fn id(&self) -> Option<SandboxId> {
        self.sandbox.as_ref().map(|sandbox| sandbox.id.clone())
    }

    pub(super) fn is_one_of(&self, ids: &[SandboxId]) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| ids.contains(&sandbox.id))
    }

    /// The sandbox and the sign of life it shows.
    pub(super) fn id_and_sign(&self) -> Option<(SandboxId, String)> {
        let sign = self.seen.as_ref().map(|seen| seen.sign.clone());
        self.id().map(|id| (id, sign.unwrap_or_default()))
    }
}

impl Names {
    /// Who stands under each name. `seen` is what was seen of them at least `apart` before.
    pub(super) async fn find_occupants(
        &self,
        labels: &Labels,
        seen: &[LeaseSeen],
        apart: Duration,
    ) -> Result<Vec<Found>, EarlyEnd> {
        let mut found = Vec::new();
        for name in &self.all {
            let sandbox = self.client.get_sandbox(name.as_str()).await;
            let sandbox = sandbox.map_err(|error| from_call(&error, Stage::Provision))?;
            let mut one = self.judge(sandbox, seen, apart);
            if one.sandbox.as_ref().is_some_and(|sandbox| labels.same_attempt(&sandbox.labels)) {
                one.occupant = Occupant::Mine;
            }
            found.push(one);
        }
        Ok(found)
    }

    /// The name of this number, for which every sandbox that sticks is passed over.
    pub(super) fn place(&self, number: usize, found: &[Found]) -> Place {
        let stuck = found.iter().filter(|other| other.occupant == Occupant::Stuck);
        let passed: Vec<Passed> =
            stuck.filter_map(Found::id_and_sign).map(|(id, sign)| PassedOver { id, sign }).collect();
        let name = self.all[number].clone();
        for stuck in &passed {
            tracing::warn!(sandbox.id = %stuck.id, sandbox.name = %name, "a sandbox that sticks is passed over: the lease takes another name of the target");
        }
        let seen = found.iter().filter_map(|found| found.seen.clone()).collect();
        Place { names: self.clone(), name, passed, seen }
    }

    fn judge(&self, sandbox: Option<Sandbox>, seen: &[LeaseSeen], apart: Duration) -> Found {
        let unheld = |occupant, sandbox| Found { occupant, sandbox, job: None, seen: None, is_stuck: false };
        let Some(sandbox) = sandbox else { return unheld(Occupant::Nobody, None) };
        let owner = match Owner::of(&sandbox, &self.fleet) {
            Owner::Ours(owner) => owner,
            Owner::Foreign => return unheld(Occupant::Foreign, Some(sandbox)),
        };
        let id = sandbox.id.as_str();
        let sighting = Sighting { sandbox: id, sign: &owner.sign, pending: sandbox.state.is_pending() };
        let before = seen.iter().find(|seen| seen.sandbox == id);
        let seen = observe(sighting, before, apart, Utc::now());
        let LeaseSection { stale, stuck, .. } = self.section;
        let occupant = occupant(&seen, self.held.is_held(&sandbox.id), stale, stuck);
        let is_stuck = is_stuck(&seen, stuck);
        Found { occupant, sandbox: Some(sandbox), job: owner.job, seen: Some(seen), is_stuck }
    }
}

impl Place {
    /// Who stands under every other name of the target.
    pub(super) async fn look_at_others(&self) -> Result<Vec<Found>, daytona::Error> {
        let mut others = Vec::new();
        for name in self.names.all.iter().filter(|name| **name != self.name) {
            if let Some(sandbox) = self.names.client.get_sandbox(name.as_str()).await? {
                // How long ago they were chosen between is not known: no time is counted.
                others.push(self.names.judge(Some(sandbox), &self.seen, Duration::ZERO));
            }
        }
        Ok(others)
    }
}
