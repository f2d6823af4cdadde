//! `harvestctl prebuilds`: which there are, and withdrawing those that must not be used any more.

mod list;
mod promote;
mod retire;
mod revoke;
#[cfg(test)]
mod tests;
mod view;

use broker::Register;
use chrono::{TimeDelta, Utc};
use job::{FleetName, SandboxName, Target};
use lifecycle::Shutdown;

use crate::acts::OperatorActs;
use crate::broker_access::BrokerAccess;
use crate::cli::Prebuilds;
use crate::daytona_access::{DaytonaAccess, DaytonaClient};
use crate::error::{CommandError, Exit};
use crate::fleet_file_source::FleetFileSource;
use crate::output::Output;
use crate::targets::find_target;
use crate::views::GoneView;
pub(super) use list::{ListedPrebuild, Use, list, look_up};
use retire::Retirer;
use revoke::Revoker;
use view::ListView;

/// Works on prebuilds, with what that asks and writes.
pub(super) struct PrebuildCommands<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) acts: &'a OperatorActs,
    /// How long a target has to be gone from the fleet file before its prebuilds are removed.
    pub(super) gone: TimeDelta,
}

impl PrebuildCommands<'_> {
    /// Runs the command that was given.
    pub(super) async fn run(
        &self,
        command: &Prebuilds,
        output: &mut Output<'_>,
        shutdown: &Shutdown,
    ) -> Result<Exit, CommandError> {
        match command {
            Prebuilds::List { target } => {
                let listed = self.list(target.as_deref());
                let view = super::until_interrupted(shutdown, listed).await?;
                output.print(&view)?;
                Ok(Exit::Done)
            }
            Prebuilds::Promote(wanted) => self.promote(wanted, output).await,
            // Never left in the middle: what is withdrawn is withdrawn, and told.
            Prebuilds::Revoke(wanted) => {
                let Self { fleet, fleet_file, broker, daytona, acts, gone: _ } = *self;
                let revoker = Revoker { fleet, fleet_file, broker, daytona, acts };
                revoker.revoke(wanted, output).await
            }
            Prebuilds::Retire(wanted) => {
                let Self { fleet, fleet_file, broker, gone: patience, .. } = *self;
                Retirer { fleet, fleet_file, broker, patience }.retire(wanted, output).await
            }
        }
    }

    async fn list(&self, name: Option<&str>) -> Result<ListView, CommandError> {
        let (broker, register) = self.broker.connect_with_register().await?;
        let chosen = name.map(|name| find_target(name, self.fleet_file, Some(known_targets(&register))));
        let now = Utc::now();
        let states = match chosen.transpose()? {
            None => register.targets(),
            Some(target) => register.get(&target).into_iter().collect(),
        };
        let mut prebuilds: Vec<ListedPrebuild> = states.iter().flat_map(|state| list(state, now)).collect();
        broker.close().await;
        let gone = states.iter().filter_map(|state| Some((&state.target, state.gone?)));
        let gone = gone.map(|(target, gone)| (target, GoneView::new(gone, self.gone).sentence()));
        let mut notes: Vec<String> = gone.map(|(target, gone)| format!("{target}: {gone}")).collect();
        match self.daytona.client() {
            DaytonaClient::NoKey => {
                notes.push("not looked up in Daytona: DAYTONA_API_KEY is not set".to_owned());
            }
            DaytonaClient::Unusable(error) => {
                notes.push(format!("not looked up in Daytona: {}", error_chain::line(error.as_ref())));
            }
            DaytonaClient::Ready(client) => {
                if let Err(error) =
                    look_up(&client, &SandboxName::fleet_prefix(self.fleet), &mut prebuilds).await
                {
                    notes.push(format!("not looked up in Daytona: {}", error_chain::line(&error)));
                }
            }
        }
        Ok(ListView { prebuilds, notes })
    }
}

fn known_targets(register: &Register) -> Vec<Target> {
    register.targets().iter().map(|state| state.target.clone()).collect()
}
