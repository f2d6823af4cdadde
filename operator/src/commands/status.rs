//! `harvestctl status`: every target of fleet.toml and of the register, at a glance.

mod view;

use std::collections::BTreeMap;

use broker::QueueDepths;
use chrono::Utc;
use job::{Target, TargetState};

use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::terminal::{Format, Terminal};
use crate::time::length;
use view::{FleetNow, QueueNow, view};

pub(crate) async fn run(
    parts: &Parts,
    terminal: &mut Terminal,
    format: Format,
) -> Result<Exit, CommandError> {
    let broker = parts.broker().await?;
    let register = parts.register(&broker).await?;
    let (listed, problems) = match parts.fleet_file() {
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
        fleet: parts.settings.fleet.clone(),
        listed,
        problems,
        states,
        last_tick: register.fleet().last_tick,
        queues: queues(&depths),
    };
    terminal.show(&view(&now, Utc::now()), format)?;
    broker.close().await;
    Ok(Exit::Done)
}

fn queues(depths: &QueueDepths) -> Vec<QueueNow> {
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
