//! The fleet's other sandboxes, to compare one with that fares badly: what all of them share is not the one's doing.

use daytona::{Client, SandboxId};
use job::FleetName;
use lease::{Owner, fleet_label};

use crate::failures::{Others, is_there};

/// How many of them are looked at one by one: the list is known to be stale now and then.
const LOOKED_AT: usize = 3;

/// How the others fare, by Daytona's API.
pub(crate) async fn look_at_others(client: &Client, fleet: &FleetName, own: &SandboxId) -> Others {
    let Ok(others) = list(client, fleet, own).await else { return Others::Failing };
    if others.is_empty() {
        return Others::Absent;
    }
    for other in others.iter().filter(|other| is_there(&other.state)).take(LOOKED_AT) {
        let seen = client.get_sandbox(other.id.as_str()).await;
        if seen.is_ok_and(|seen| seen.is_some_and(|seen| is_there(&seen.state))) {
            return Others::Alive;
        }
    }
    Others::Failing
}

/// How the toolboxes fare of the others that run.
pub(crate) async fn ask_other_toolboxes(client: &Client, fleet: &FleetName, own: &SandboxId) -> Others {
    let Ok(others) = list(client, fleet, own).await else { return Others::Failing };
    let mut fare = Others::Absent;
    for other in others.iter().filter(|other| is_there(&other.state)).take(LOOKED_AT) {
        let Ok(toolbox) = client.toolbox(other).await else { continue };
        if toolbox.answers().await {
            return Others::Alive;
        }
        // One that is gone by now tells nothing.
        let seen = client.get_sandbox(other.id.as_str()).await;
        if seen.is_ok_and(|seen| seen.is_some_and(|seen| is_there(&seen.state))) {
            fare = Others::Failing;
        }
    }
    fare
}

async fn list(
    client: &Client,
    fleet: &FleetName,
    own: &SandboxId,
) -> Result<Vec<daytona::Sandbox>, daytona::Error> {
    let mut others = client.list_sandboxes(&fleet_label(fleet)).await?;
    others.retain(|other| other.id != *own && matches!(Owner::of(other, fleet), Owner::Ours(_)));
    Ok(others)
}
