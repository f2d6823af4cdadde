//! Whether what sessions are given is there: the promoted prebuild of each target, looked up in Daytona.

use broker::Broker;
use chrono::Utc;
use job::{FleetName, SandboxName};

use super::view::Check;
use crate::broker_access::{BrokerAccess, read_register};
use crate::commands::prebuilds::{ListedPrebuild, Use, list, look_up};
use crate::daytona_access::{DaytonaAccess, DaytonaClient};

const NAME: &str = "prebuilds";

/// Looks every promoted prebuild up.
pub(super) async fn check_prebuilds(
    fleet: &FleetName,
    broker: &BrokerAccess,
    daytona: &DaytonaAccess,
) -> Check {
    let DaytonaClient::Ready(client) = daytona.client() else {
        return Check::skipped(NAME, "not looked up: Daytona cannot be used");
    };
    let Ok(connected) = broker.connect().await else {
        return Check::skipped(NAME, "not looked up: RabbitMQ cannot be used");
    };
    let promoted = read_promoted(&connected).await;
    connected.close().await;
    let mut promoted = match promoted {
        Ok(promoted) => promoted,
        Err(error) => {
            let remedy = "look at the stream of the register in RabbitMQ";
            return Check::failed(NAME, error_chain::line(error.as_ref()), remedy);
        }
    };
    match look_up(&client, &SandboxName::fleet_prefix(fleet), &mut promoted).await {
        Ok(()) => report(&promoted),
        Err(error) => Check::skipped(NAME, format!("not looked up: {}", error_chain::line(&error))),
    }
}

async fn read_promoted(broker: &Broker) -> anyhow::Result<Vec<ListedPrebuild>> {
    let register = read_register(broker).await?;
    let all = register.targets();
    let all = all.iter().flat_map(|state| list(state, Utc::now()));
    Ok(all.filter(|prebuild| prebuild.used_as == Use::Promoted).collect())
}

fn report(promoted: &[ListedPrebuild]) -> Check {
    let missing: Vec<&ListedPrebuild> = promoted.iter().filter(|prebuild| !prebuild.is_usable()).collect();
    if missing.is_empty() {
        return Check::ok(NAME, format!("{} promoted, each looked up in Daytona", promoted.len()));
    }
    let line = |prebuild: &&ListedPrebuild| {
        let word = match prebuild.in_daytona.as_deref() {
            Some(_) if prebuild.is_asleep() => "asleep (activating it would destroy it)",
            Some(word) => word,
            None => "not known",
        };
        format!("{}: {} is {word} in Daytona", prebuild.target, prebuild.name)
    };
    let detail = missing.iter().map(line).collect::<Vec<_>>().join("\n");
    Check::failed(NAME, detail, "the next tick builds them anew; sooner: harvestctl submit TARGET")
}
