//! `harvestctl status`: every target of fleet.toml and of the register, at a glance.

mod view;

use std::collections::BTreeMap;

use broker::QueueDepths;
use chrono::{TimeDelta, Utc};
use job::{FleetName, Target, TargetState};

use crate::broker_access::BrokerAccess;
use crate::error::CommandError;
use crate::fleet_file_source::FleetFileSource;
use crate::time::length;
use view::{FleetNow, QueueNow, StatusView, view};

/// Reads how every target stands, and how deep the queues are.
pub(super) async fn read_status(
    fleet: &FleetName,
    fleet_file: &FleetFileSource,
    broker: &BrokerAccess,
    patience: TimeDelta,
) -> Result<StatusView, CommandError> {
    let (broker, register) = broker.connect_with_register().await?;
    let (listed, problems) = match fleet_file.load() {
        Ok(load) => (
            load.targets.into_iter().map(|(target, _)| target).collect(),
            load.problems.iter().map(ToString::to_string).collect(),
        ),
        Err(error) => (Vec::new(), error.sentence().into_iter().collect()),
    };
    let depths = broker.queue_depths().await.map_err(anyhow::Error::new)?;
    let states: BTreeMap<Target, TargetState> =
        register.targets().iter().map(|state| (state.target.clone(), TargetState::clone(state))).collect();
    let now = FleetNow {
        fleet: fleet.clone(),
        listed,
        problems,
        states,
        last_tick: register.fleet().last_tick,
        queues: list_queues(&depths),
        patience,
    };
    broker.close().await;
    Ok(view(&now, Utc::now()))
}

fn list_queues(depths: &QueueDepths) -> Vec<QueueNow> {
    let named = |queue: &str, messages| QueueNow { queue: queue.to_owned(), messages };
    let mut queues = vec![
        named("resume", depths.resume),
        named("ondemand", depths.on_demand),
        named("refresh", depths.refresh),
    ];
    let retries = depths.retries.iter();
    queues.extend(retries.map(|(delay, messages)| named(&format!("retry.{}", length(*delay)), *messages)));
    queues.push(named("dead", depths.dead));
    queues
}
