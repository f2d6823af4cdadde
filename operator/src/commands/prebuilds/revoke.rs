//! `harvestctl prebuilds revoke`: withdraws what was built with a secret that leaked, or since a time, deletes it and has it
//! built anew.
//!
//! First the register is told, by a rule of its own that no promotion undoes; only then are snapshots deleted.

use std::collections::BTreeSet;

use broker::{Broker, Register};
use chrono::{DateTime, Utc};
use daytona::Client;
use job::{Concern, FleetName, Revocation, Revoked, SandboxName, Target};
use settings::FleetLoad;

use super::list::{ListedPrebuild, Use, list};
use super::view::{RevokeEnd, RevokeView, RevokedPrebuild};
use crate::acts::OperatorActs;
use crate::broker_access::{BrokerAccess, REGISTER_READ};
use crate::cli::{Revoke, Submit};
use crate::commands::submit::{SubmittedView, Submitter};
use crate::daytona_access::{DaytonaAccess, DaytonaClient, find_occupants};
use crate::error::{CommandError, Exit};
use crate::fleet_file_source::FleetFileSource;
use crate::output::Output;
use crate::terminal::Answer;

/// Withdraws prebuilds, with what it asks and writes.
pub(super) struct Revoker<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) acts: &'a OperatorActs,
}

/// What is withdrawn, and who is told.
struct Plan {
    revocation: Revocation,
    prebuilds: Vec<ListedPrebuild>,
    /// Targets without such a prebuild, of which one may be in the making.
    also_told: Vec<Target>,
    listed: FleetLoad,
}

impl Revoker<'_> {
    /// Withdraws what is wanted, once somebody has agreed.
    pub(super) async fn revoke(
        &self,
        wanted: &Revoke,
        output: &mut Output<'_>,
    ) -> Result<Exit, CommandError> {
        let client = match self.daytona.client() {
            DaytonaClient::Ready(client) => client,
            DaytonaClient::Unusable(error) => return Err(CommandError::Usage(error)),
            DaytonaClient::NoKey => {
                return Err(CommandError::usage("set DAYTONA_API_KEY: what is withdrawn is deleted there"));
            }
        };
        let listed = self.fleet_file.load()?;
        let (broker, register) = self.broker.connect_with_register().await?;
        let done = self.revoke_with(wanted, listed, &client, &broker, &register, output).await;
        broker.close().await;
        done
    }

    async fn revoke_with(
        &self,
        wanted: &Revoke,
        listed: FleetLoad,
        client: &Client,
        broker: &Broker,
        register: &Register,
        output: &mut Output<'_>,
    ) -> Result<Exit, CommandError> {
        let plan = self.plan(wanted, listed, client, register, Utc::now()).await?;
        if wanted.dry_run {
            output.print(&plan.view())?;
            return Ok(Exit::Done);
        }
        let targets: BTreeSet<&Target> = plan.prebuilds.iter().map(|prebuild| &prebuild.target).collect();
        let is_nobody_told = targets.is_empty() && plan.also_told.is_empty();
        if !wanted.yes && !is_nobody_told {
            let question = format!(
                "Withdraw and delete {} prebuild(s) of {} target(s) of fleet {}, and build them anew?",
                plan.prebuilds.len(),
                targets.len(),
                self.fleet
            );
            if output.confirm(&question)? == Answer::No {
                output.print_note("nothing was withdrawn")?;
                return Ok(Exit::Failed);
            }
        }
        let unwritten = write_rule(register, &plan).await;
        let mut prebuilds = Vec::with_capacity(plan.prebuilds.len());
        for prebuild in &plan.prebuilds {
            let end = match unwritten.iter().find(|(target, _)| *target == prebuild.target) {
                Some((_, error)) => RevokeEnd::NotWithdrawn { error: error.clone() },
                None => self.delete(client, prebuild).await,
            };
            prebuilds.push(RevokedPrebuild { prebuild: prebuild.clone(), end });
        }
        for (target, error) in unwritten.iter().filter(|(target, _)| plan.also_told.contains(target)) {
            output.print_note(format!("{target}: the register could not be told: {error}"))?;
        }
        let (rebuilds, not_listed) = self.rebuild(&plan, broker, output).await?;
        let failed = !unwritten.is_empty()
            || prebuilds.iter().any(|revoked| revoked.end.is_failure())
            || rebuilds.iter().any(|job| job.error.is_some());
        let also_told = plan.also_told;
        output.print(&RevokeView { dry_run: false, prebuilds, also_told, rebuilds, not_listed })?;
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }

    /// Everything of the register that is covered, and who else must know of the rule: who has a sandbox now builds something
    /// that nobody can name yet.
    async fn plan(
        &self,
        wanted: &Revoke,
        listed: FleetLoad,
        client: &Client,
        register: &Register,
        now: DateTime<Utc>,
    ) -> Result<Plan, CommandError> {
        let of = match (&wanted.secret, wanted.since) {
            (Some(secret), _) => Revoked::BuiltWith(secret.clone()),
            (None, Some(since)) => Revoked::BuiltSince(since),
            (None, None) => return Err(CommandError::usage("say what: --secret NAME, or --since TIME")),
        };
        let revocation = Revocation { of, until: now };
        let states = register.targets();
        let all = states.iter().flat_map(|state| list(state, now));
        let prebuilds: Vec<_> = all.filter(|prebuild| revocation.covers(prebuild.provenance())).collect();
        let sandboxes =
            client.list_sandboxes(&lease::fleet_label(self.fleet)).await.map_err(anyhow::Error::new)?;
        let builds_now = |target: &Target| {
            let names = SandboxName::of(self.fleet, target).all_of_target();
            sandboxes.iter().any(|sandbox| names.iter().any(|name| sandbox.name == name.as_str()))
        };
        let names_it = |target: &Target| {
            let settings = listed.settings_of(target);
            wanted.secret.as_ref().is_some_and(|secret| {
                settings.is_some_and(|settings| settings.secret_names().contains(secret))
            })
        };
        let known = states.iter().map(|state| &state.target).chain(listed.targets.iter().map(|(it, _)| it));
        let also_told: BTreeSet<Target> = known
            .filter(|target| builds_now(target) || names_it(target))
            .filter(|target| !prebuilds.iter().any(|prebuild| prebuild.target == **target))
            .cloned()
            .collect();
        Ok(Plan { revocation, prebuilds, also_told: also_told.into_iter().collect(), listed })
    }

    /// Deletes the snapshot, which has this fleet's name by its own. One that is being captured or verified is its attempt's:
    /// that finds it withdrawn.
    async fn delete(&self, client: &Client, prebuild: &ListedPrebuild) -> RevokeEnd {
        let deleting = async {
            if prebuild.used_as == Use::Captured {
                let lease = SandboxName::of(self.fleet, &prebuild.target);
                let at_work = lease::attempts_at_work(&find_occupants(client, &lease).await?);
                if at_work.contains(&prebuild.name.attempt()) {
                    return Ok(RevokeEnd::LeftToItsAttempt);
                }
            }
            let name = prebuild.name.to_string();
            match client.get_snapshot(&name).await?.filter(|snapshot| snapshot.name == name) {
                None => Ok(RevokeEnd::Missing),
                Some(snapshot) => client.delete_snapshot(&snapshot.id).await.map(|_| RevokeEnd::Deleted),
            }
        };
        deleting.await.unwrap_or_else(|error: daytona::Error| RevokeEnd::NotDeleted {
            error: error_chain::line(&error),
        })
    }

    /// Has every target built that has lost what sessions were given, or what was about to be.
    async fn rebuild(
        &self,
        plan: &Plan,
        broker: &Broker,
        output: &mut Output<'_>,
    ) -> Result<(Vec<SubmittedView>, Vec<Target>), CommandError> {
        let lost: BTreeSet<&Target> = plan
            .prebuilds
            .iter()
            .filter(|prebuild| prebuild.used_as != Use::Kept)
            .map(|prebuild| &prebuild.target)
            .collect();
        let chosen: Vec<_> = plan.listed.targets.iter().filter(|(target, _)| lost.contains(target)).collect();
        let not_listed: Vec<Target> =
            lost.into_iter().filter(|target| plan.listed.settings_of(target).is_none()).cloned().collect();
        let Self { fleet, fleet_file, broker: access, daytona, acts } = *self;
        let submitter = Submitter { fleet, fleet_file, broker: access, daytona, acts };
        let rebuilds = submitter.enqueue(broker, chosen, &Submit::default(), "revoke", output).await?;
        Ok((rebuilds, not_listed))
    }
}

impl Plan {
    /// What would become of it.
    fn view(&self) -> RevokeView {
        let would_be = |prebuild: &ListedPrebuild| RevokedPrebuild {
            prebuild: prebuild.clone(),
            end: RevokeEnd::WouldBe,
        };
        RevokeView {
            dry_run: true,
            prebuilds: self.prebuilds.iter().map(would_be).collect(),
            also_told: self.also_told.clone(),
            rebuilds: Vec::new(),
            not_listed: Vec::new(),
        }
    }
}

/// Writes the rule for each target, and answers those for which that failed.
async fn write_rule(register: &Register, plan: &Plan) -> Vec<(Target, String)> {
    let with_prebuilds: BTreeSet<&Target> = plan.prebuilds.iter().map(|prebuild| &prebuild.target).collect();
    let mut failed = Vec::new();
    for target in with_prebuilds.into_iter().chain(&plan.also_told) {
        let told = register.append(target, Concern::Revocation(plan.revocation.clone()), REGISTER_READ);
        if let Err(error) = told.await {
            failed.push((target.clone(), error_chain::line(&error)));
        }
    }
    failed
}
