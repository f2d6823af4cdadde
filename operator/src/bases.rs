//! What base snapshots mean now, for the jobs that harvestctl sends: the same look as the producer's at each tick.
//!
//! Without a key, or while Daytona does not answer, jobs go without it and the workers look for themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daytona::BaseError;
use tokio::time::Instant;

use crate::error::CommandError;
use crate::parts::Parts;
use crate::terminal::Terminal;

/// How long Daytona is waited for in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// The id behind each name, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Bases(BTreeMap<String, String>);

impl Bases {
    /// Looks each of these up once, and says what stands in the way.
    pub(crate) async fn look_up(
        parts: &Parts,
        names: impl Iterator<Item = &str>,
        terminal: &mut Terminal,
    ) -> Result<Self, CommandError> {
        let mut found = BTreeMap::new();
        let client = match parts.daytona() {
            None => return Ok(Self(found)),
            Some(Err(error)) => {
                terminal.say(format!(
                    "base snapshots are left to the workers: {}",
                    error_chain::line(error.as_ref())
                ))?;
                return Ok(Self(found));
            }
            Some(Ok(client)) => client,
        };
        let deadline = Instant::now() + PATIENCE;
        for name in names.collect::<BTreeSet<_>>() {
            match tokio::time::timeout_at(deadline, client.base_snapshot(name)).await {
                Ok(Ok(snapshot)) => drop(found.insert(name.to_owned(), snapshot.id.to_string())),
                Ok(Err(error @ (BaseError::Missing { .. } | BaseError::NotActive { .. }))) => {
                    terminal.say(format!("{error}: jobs wait until there is one"))?;
                }
                Ok(Err(BaseError::Call(error))) => {
                    terminal.say(format!(
                        "base snapshots are left to the workers: {}",
                        error_chain::line(&error)
                    ))?;
                    break;
                }
                Err(_elapsed) => {
                    terminal.say("base snapshots are left to the workers: Daytona did not answer in time")?;
                    break;
                }
            }
        }
        Ok(Self(found))
    }

    /// The id behind this name.
    pub(crate) fn id_of(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    #[cfg(test)]
    pub(crate) fn of(name: &str, id: &str) -> Self {
        Self([(name.to_owned(), id.to_owned())].into())
    }
}
