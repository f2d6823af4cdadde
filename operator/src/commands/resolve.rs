//! `harvestctl resolve`: which snapshot a session should start from. Answers without the broker, too.

mod choice;

use chrono::Utc;
use daytona::{Client, Snapshot};
use job::{PrebuildName, SandboxName, Target, TargetState};

use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::targets::{self, NotOne};
use crate::terminal::{Format, Terminal};
use choice::{DaytonaSays, RegisterSays, SnapshotSeen, choose};

pub(crate) async fn run(
    parts: &Parts,
    name: &str,
    terminal: &mut Terminal,
    format: Format,
) -> Result<Exit, CommandError> {
    let opened = match parts.broker().await {
        Ok(broker) => parts.register(&broker).await.map(|register| (broker, register)),
        Err(error) => Err(error),
    };
    let known = opened.as_ref().ok().map(|(_, register)| {
        register.targets().iter().map(|state| state.target.clone()).collect::<Vec<Target>>()
    });
    let target = which(parts, name, known)?;
    let register = match &opened {
        Ok((_, register)) => register
            .get(&target)
            .map_or(RegisterSays::Nothing, |state| RegisterSays::State(Box::new(TargetState::clone(&state)))),
        Err(error) => RegisterSays::Unreadable(error_chain::line(error.as_ref())),
    };
    let daytona = ask_daytona(parts, &target, &register).await;
    if let Ok((broker, _)) = opened {
        broker.close().await;
    }
    let answer = choose(&target, &register, &daytona, Utc::now())
        .map_err(|none| CommandError::NotFound(none.to_string()))?;
    terminal.show(&answer, format)?;
    Ok(Exit::Done)
}

/// The target meant, of those in fleet.toml and in the register. Where the register can't be read, a whole
/// `owner/name@branch` is taken at its word.
pub(crate) fn which(
    parts: &Parts,
    name: &str,
    in_register: Option<Vec<Target>>,
) -> Result<Target, CommandError> {
    let is_complete = in_register.is_some();
    let mut known = in_register.unwrap_or_default();
    match parts.fleet_file() {
        Ok(load) => known.extend(load.targets.into_iter().map(|(target, _)| target)),
        Err(error) => tracing::debug!(error = %error, "without the fleet file"),
    }
    match (targets::one(name, &known), name.parse::<Target>()) {
        (Ok(target), _) => Ok(target),
        (Err(NotOne::Unknown { .. }), Ok(spelled)) if !is_complete => Ok(spelled),
        (Err(error @ NotOne::Several { .. }), _) => Err(CommandError::usage(error)),
        (Err(error @ NotOne::Unknown { .. }), _) => Err(CommandError::NotFound(error.to_string())),
    }
}

async fn ask_daytona(parts: &Parts, target: &Target, register: &RegisterSays) -> DaytonaSays {
    let client = match parts.daytona() {
        None => return DaytonaSays::NoKey,
        Some(Err(error)) => return DaytonaSays::Unreachable(error_chain::line(error.as_ref())),
        Some(Ok(client)) => client,
    };
    let sandbox = SandboxName::of(&parts.settings.fleet, target);
    match snapshots(&client, &sandbox, register).await {
        Ok(seen) => DaytonaSays::Snapshots(seen),
        Err(error) => DaytonaSays::Unreachable(error_chain::line(&error)),
    }
}

/// What the register names is looked up one by one, since lists may lag; the list is for when nothing of it is there.
async fn snapshots(
    client: &Client,
    sandbox: &SandboxName,
    register: &RegisterSays,
) -> Result<Vec<SnapshotSeen>, daytona::Error> {
    let mut seen = Vec::new();
    if let RegisterSays::State(state) = register {
        for prebuild in state.prebuilds() {
            let found = client.get_snapshot(&prebuild.snapshot_id).await?;
            seen.extend(found.and_then(|snapshot| seen_as(snapshot, sandbox)));
            if seen.iter().any(choice::usable) {
                return Ok(seen);
            }
        }
    }
    let listed = client.list_snapshots(&sandbox.prebuild_prefix()).await?;
    seen.extend(listed.into_iter().filter_map(|snapshot| seen_as(snapshot, sandbox)));
    Ok(seen)
}

/// Only what is this target's by its exact name.
fn seen_as(snapshot: Snapshot, sandbox: &SandboxName) -> Option<SnapshotSeen> {
    let name = snapshot.name.parse::<PrebuildName>().ok().filter(|name| name.sandbox() == sandbox)?;
    Some(SnapshotSeen {
        id: snapshot.id.to_string(),
        name,
        state: snapshot.state,
        created_at: snapshot.created_at,
    })
}
