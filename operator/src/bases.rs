//! What base snapshots mean now, for the jobs that harvestctl sends: the same look-up as the producer's at each tick.
//!
//! Without a key, or while Daytona does not answer, jobs go without it and the workers look for themselves.

use daytona::{BaseError, BaseIds, BaseLookupError};

use crate::error::CommandError;
use crate::parts::Parts;
use crate::terminal::Terminal;

/// Looks each of these names up once, and says what stands in the way.
pub(crate) async fn look_up_bases(
    parts: &Parts,
    names: impl Iterator<Item = &str>,
    terminal: &mut Terminal,
) -> Result<BaseIds, CommandError> {
    let client = match parts.daytona() {
        None => return Ok(BaseIds::default()),
        Some(Err(error)) => {
            let cause = error_chain::line(error.as_ref());
            terminal.say(format!("base snapshots are left to the workers: {cause}"))?;
            return Ok(BaseIds::default());
        }
        Some(Ok(client)) => client,
    };
    let findings = client.look_up_bases(names).await;
    for error in findings.iter().filter_map(|finding| finding.result.as_ref().err()) {
        match error {
            BaseLookupError::Base(BaseError::Missing { .. } | BaseError::NotActive { .. }) => {
                terminal.say(format!("{error}: jobs wait until there is one"))?;
            }
            BaseLookupError::Base(BaseError::Call(error)) => {
                let cause = error_chain::line(error);
                terminal.say(format!("base snapshots are left to the workers: {cause}"))?;
            }
            BaseLookupError::TimedOut(_) => {
                terminal.say("base snapshots are left to the workers: Daytona did not answer in time")?;
            }
        }
    }
    Ok(BaseIds::from(&findings[..]))
}
