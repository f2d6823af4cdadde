//! The names of a target, and who stands under them.

use std::time::Duration;

use chrono::Utc;
use daytona::{Client, Sandbox, SandboxId};
use job::{FleetName, JobId, LeaseSeen, NAMES_OF_A_TARGET, SandboxName, Stage};
use lease::{Labels, LeaseSection, Owner, Sighting, is_stuck, observe};

use super::KnownSandboxes;
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
    pub(super) known: KnownSandboxes,
    pub(super) fleet: FleetName,
    pub(super) all: [SandboxName; NAMES_OF_A_TARGET],
}

/// The name that a lease has, and the sandboxes that were passed over for it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) names: Names,
    pub(super) name: SandboxName,
    pub(super) passed: Vec<Passed>,
}

/// Who stands under one of the names.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) occupant: Occupant,
    pub(super) sandbox: Option<Sandbox>,
    /// The job it says it is of.
    pub(super) job: Option<JobId>,
    pub(super) seen: LeaseSeen,
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
        self.id().map(|id| (id, self.seen.sign.clone()))
    }
}

impl Names {
    /// Who stands under each name. `seen` is what an earlier attempt saw of one of them, at least `apart` before.
    pub(super) async fn find_occupants(
        &self,
        labels: &Labels,
        seen: Option<&LeaseSeen>,
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

    /// Who stands under every name but this one.
    pub(super) async fn look_at_others(&self, mine: &SandboxName) -> Result<Vec<Found>, daytona::Error> {
        let mut others = Vec::new();
        for name in self.all.iter().filter(|name| *name != mine) {
            if let Some(sandbox) = self.client.get_sandbox(name.as_str()).await? {
                others.push(self.judge(Some(sandbox), None, Duration::ZERO));
            }
        }
        Ok(others)
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
        Place { names: self.clone(), name, passed }
    }

    fn judge(&self, sandbox: Option<Sandbox>, seen: Option<&LeaseSeen>, apart: Duration) -> Found {
        let nobody = || LeaseSeen {
            sandbox: String::new(),
            sign: String::new(),
            since: Utc::now(),
            silent_ms: 0,
            waited_ms: 0,
        };
        let Some(sandbox) = sandbox else {
            let seen = nobody();
            return Found { occupant: Occupant::Nobody, sandbox: None, job: None, seen, is_stuck: false };
        };
        let owner = match Owner::of(&sandbox, &self.fleet) {
            Owner::Ours(owner) => owner,
            Owner::Foreign => {
                let (occupant, seen) = (Occupant::Foreign, nobody());
                return Found { occupant, sandbox: Some(sandbox), job: None, seen, is_stuck: false };
            }
        };
        let pending = sandbox.state.is_pending();
        let sighting = Sighting { sandbox: sandbox.id.as_str(), sign: &owner.sign, pending };
        let of_message = observe(sighting, seen, apart, Utc::now());
        // The sweeper's own last look was at some time before this one.
        let of_sweeper = observe(sighting, self.known.seen(&sandbox.id).as_ref(), Duration::ZERO, Utc::now());
        let seen = if of_sweeper.waited_ms > of_message.waited_ms { of_sweeper } else { of_message };
        let LeaseSection { stale, stuck, .. } = self.section;
        let held = self.known.is_held(&sandbox.id);
        let occupant = occupant(&seen, held, stale, stuck);
        let is_stuck = is_stuck(&seen, stuck);
        Found { occupant, sandbox: Some(sandbox), job: owner.job, seen, is_stuck }
    }
}
