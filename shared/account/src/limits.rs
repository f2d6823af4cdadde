//! Writes down which limits this process's calls met, so that no other has to meet them.

use broker::Register;
use chrono::{TimeDelta, Utc};
use daytona::Exceeded;
use job::{AccountEntry, LimitMet, RegisterEntry, Resource};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::counted::Rooms;

/// The same limit, met again so soon, says nothing new: and an entry would keep everybody from trying for longer.
const NEWS_AFTER: TimeDelta = TimeDelta::seconds(30);

fn is_known(register: &Register, resource: Resource, maximum: Option<f64>) -> bool {
    let (account, now) = (register.account(), Utc::now());
    let is_same = |met: &LimitMet| met.resource == resource && met.maximum == maximum;
    account.limits_met().any(|met| is_same(met) && (now - met.at).abs() < NEWS_AFTER)
}

/// Writes down every limit that comes, for as long as it is let.
pub async fn write_limits_met(mut met: Receiver<Exceeded>, rooms: Rooms, register: Register) {
    loop {
        let exceeded = match met.recv().await {
            Ok(exceeded) => exceeded,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let resource = match exceeded.resource {
            daytona::Resource::Cpu => Resource::Cpu,
            daytona::Resource::Memory => Resource::Memory,
            daytona::Resource::Disk => Resource::Disk,
            daytona::Resource::Snapshots => Resource::Snapshots,
        };
        if is_known(&register, resource, exceeded.maximum) {
            continue;
        }
        let used = match rooms.count().await {
            Ok(used) => used,
            Err(error) => {
                tracing::debug!(
                    error = error_chain::line(&error),
                    "a limit was met and nothing counted; it is not written down"
                );
                continue;
            }
        };
        let met = LimitMet {
            resource,
            maximum: exceeded.maximum,
            fleet_had: used.of_resource(resource),
            at: Utc::now(),
        };
        tracing::warn!(%resource, maximum = met.maximum, fleet = met.fleet_had, "Daytona has no more for this organization");
        if let Err(error) = register.put(&RegisterEntry::Account(AccountEntry::LimitMet(met))).await {
            tracing::debug!(
                error = error_chain::line(&error),
                "a limit was met and could not be written down"
            );
        }
    }
}
