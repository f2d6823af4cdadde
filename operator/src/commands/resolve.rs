//! `harvestctl resolve`: which snapshot a session should start from. Answers without the broker, too.

mod choice;

use broker::Register;
use chrono::Utc;
use daytona::{Client, Snapshot};
use job::{FleetName, PrebuildName, SandboxName, Target, TargetState};

use crate::broker_access::BrokerAccess;
use crate::daytona_access::{DaytonaAccess, DaytonaClient, find_occupants};
use crate::error::CommandError;
use crate::fleet_file_source::FleetFileSource;
use crate::targets::find_target;
use choice::{DaytonaSays, PrebuildSnapshot, RegisterSays, ResolveView, choose};

/// Finds the snapshot to start from, with what it asks.
pub(super) struct Resolver<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
}

impl Resolver<'_> {
    /// The snapshot for the target that `name` means.
    pub(super) async fn resolve(&self, name: &str) -> Result<ResolveView, CommandError> {
        let opened = self.broker.connect_with_register().await;
        let known = opened.as_ref().ok().map(|(_, register)| {
            register.targets().iter().map(|state| state.target.clone()).collect::<Vec<Target>>()
        });
        let target = find_target(name, self.fleet_file, known)?;
        let register = match &opened {
            Ok((_, register)) => ask_register(register, &target),
            Err(error) => RegisterSays::Unreadable(error_chain::line(error.as_ref())),
        };
        let daytona = self.ask_daytona(&target, &register).await;
        if let Ok((broker, _)) = opened {
            broker.close().await;
        }
        choose(&target, &register, &daytona, Utc::now())
            .map_err(|none| CommandError::NotFound(none.to_string()))
    }

    async fn ask_daytona(&self, target: &Target, register: &RegisterSays) -> DaytonaSays {
        let client = match self.daytona.client() {
            DaytonaClient::NoKey => return DaytonaSays::NoKey,
            DaytonaClient::Unusable(error) => {
                return DaytonaSays::Unreachable(error_chain::line(error.as_ref()));
            }
            DaytonaClient::Ready(client) => client,
        };
        let sandbox = SandboxName::of(self.fleet, target);
        match find_snapshots(&client, &sandbox, register).await {
            Ok(found) => DaytonaSays::Snapshots(found),
            Err(error) => DaytonaSays::Unreachable(error_chain::line(&error)),
        }
    }
}

fn ask_register(register: &Register, target: &Target) -> RegisterSays {
    register
        .get(target)
        .map_or(RegisterSays::Nothing, |state| RegisterSays::State(Box::new(TargetState::clone(&state))))
}

/// What the register names is looked up one by one, since lists may lag; the list is for when nothing of it is there.
async fn find_snapshots(
    client: &Client,
    sandbox: &SandboxName,
    register: &RegisterSays,
) -> Result<Vec<PrebuildSnapshot>, daytona::Error> {
    let mut found = Vec::new();
    if let RegisterSays::State(state) = register {
        for prebuild in state.prebuilds() {
            let snapshot = client.get_snapshot(&prebuild.snapshot_id).await?;
            found.extend(snapshot.and_then(|snapshot| recognise(snapshot, sandbox)));
            if found.iter().any(PrebuildSnapshot::is_usable) {
                return Ok(found);
            }
        }
    }
    // What an attempt at work has captured is not verified yet.
    let at_work = lease::attempts_at_work(&find_occupants(client, sandbox).await?);
    let listed = client.list_snapshots(&sandbox.prebuild_prefix()).await?;
    let recognised = listed.into_iter().filter_map(|snapshot| recognise(snapshot, sandbox));
    found.extend(recognised.filter(|snapshot| !at_work.contains(&snapshot.name.attempt())));
    Ok(found)
}

/// Only what is this target's by its exact name.
fn recognise(snapshot: Snapshot, sandbox: &SandboxName) -> Option<PrebuildSnapshot> {
    let name = snapshot.name.parse::<PrebuildName>().ok().filter(|name| name.sandbox() == sandbox)?;
    Some(PrebuildSnapshot {
        id: snapshot.id.to_string(),
        name,
        state: snapshot.state,
        created_at: snapshot.created_at,
    })
}
