//! Whether the organization's limits can hold the fleet, by what is set, what Daytona has named and what the fleet has there.
//!
//! Daytona tells its limits to no API key, and counts the question as a failed authentication: so it is never asked.

use account::{FleetUse, Holding, Need, Purpose, QuotaSection, Size, room_for};
use chrono::Utc;
use daytona::Client;
use job::{AccountState, FleetName};
use settings::FleetLoad;

use super::view::Check;
use crate::broker_access::BrokerAccess;
use crate::daytona_access::{DaytonaAccess, DaytonaClient};

const NAME: &str = "limits";

/// Counts what the fleet has, and holds it and what the fleet file asks for against the limits.
pub(super) async fn check_limits(
    fleet: &FleetName,
    quota: &QuotaSection,
    broker: &BrokerAccess,
    daytona: &DaytonaAccess,
    load: Option<&FleetLoad>,
) -> Check {
    let DaytonaClient::Ready(client) = daytona.client() else {
        return Check::skipped(NAME, "not counted: Daytona cannot be used");
    };
    let used = match FleetUse::count(&client, fleet).await {
        Ok(used) => used,
        Err(error) => return Check::skipped(NAME, format!("not counted: {}", error_chain::line(&error))),
    };
    let targets = load.map_or(&[][..], |load| &load.targets);
    let bases = targets.iter().map(|(_, settings)| settings.base_snapshot.as_str());
    let largest = find_largest(&client, bases).await;
    let account = read_account(broker).await;
    judge(Need::of(targets, largest), used, quota, &account)
}

fn judge(need: Need, used: FleetUse, quota: &QuotaSection, account: &AccountState) -> Check {
    let now = Utc::now();
    let FleetUse { sandboxes, cpu, memory_gb, disk_gb, snapshots } = used;
    let has = format!(
        "the fleet has {sandboxes} sandboxes ({cpu} vCPU, {memory_gb} GiB of memory, {disk_gb} GiB of disk) and {snapshots} snapshots"
    );
    if let Err(full) = room_for(need.largest.unwrap_or_default(), Purpose::Build, &used, quota, account, now)
    {
        let remedy = "wait for a build to end; else lower `keep` in fleet.toml, delete what is not used, ask Daytona for a higher \
                      limit, and correct [quota]";
        return Check::warning(NAME, format!("no room for another build: {full}\n{has}"), remedy);
    }
    match Holding::judge(need, quota, account, now) {
        Holding::Enough(sentence) => Check::ok(NAME, format!("{has}; {sentence}")),
        Holding::Unknown(sentence) => {
            Check::ok(NAME, format!("{has}; {sentence}. Daytona's dashboard shows them: set [quota]"))
        }
        Holding::TooLittle(sentences) => {
            let remedy =
                "lower `keep` in fleet.toml or the reserves in [quota], or ask Daytona for a higher limit";
            Check::warning(NAME, format!("{}\n{has}", sentences.join("\n")), remedy)
        }
    }
}

async fn find_largest(client: &Client, bases: impl Iterator<Item = &str>) -> Option<Size> {
    let findings = client.look_up_bases(bases).await;
    let sizes = findings.iter().filter_map(|finding| finding.result.as_ref().ok()).map(Size::from);
    sizes.max_by(|one, other| one.cpu.total_cmp(&other.cpu))
}

/// What the fleet has learnt by being refused; nothing where RabbitMQ cannot be asked, which another check says.
async fn read_account(broker: &BrokerAccess) -> AccountState {
    match broker.connect_with_register().await {
        Ok((connected, register)) => {
            let account = register.account();
            connected.close().await;
            account
        }
        Err(error) => {
            tracing::debug!(
                error = error_chain::line(error.as_ref()),
                "what the fleet learnt of its limits is not known"
            );
            AccountState::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_limits_cannot_hold_is_said_with_a_remedy() {
        let quota = |snapshots| QuotaSection {
            sandboxes: 0,
            cpu: 0,
            memory_gb: 0,
            disk_gb: 0,
            snapshots,
            reserve_for_sessions: 2,
            reserve_snapshots: 2,
            count: Duration::ZERO,
        };
        let need = Need { targets: 10, prebuilds: 20, largest: None };
        let used = FleetUse { snapshots: 12.0, ..FleetUse::default() };
        let said =
            |snapshots| format!("{:?}", judge(need, used, &quota(snapshots), &AccountState::default()));
        let few = said(22);
        assert!(few.contains("10 targets keep 20 prebuilds") && few.contains("lower `keep`"), "{few}");
        assert!(said(23).contains("21 snapshots of [quota] snapshots 23"), "{}", said(23));
        assert!(said(0).contains("tells no limit"), "{}", said(0));
        assert!(said(14).contains("no room for another build"), "{}", said(14));
    }
}
