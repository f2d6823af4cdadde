//! What base snapshots mean now, for the jobs that harvestctl sends: the same look-up as the producer's at each tick.
//!
//! Without a key, or while Daytona does not answer, jobs go without it and the workers look for themselves.

use daytona::{BaseError, BaseIds, BaseLookupError};

use crate::daytona_access::{DaytonaAccess, DaytonaClient};
use crate::error::CommandError;
use crate::output::Output;

/// Looks each of these names up once, and prints what stands in the way.
pub(crate) async fn look_up_bases(
    daytona: &DaytonaAccess,
    names: impl Iterator<Item = &str>,
    output: &mut Output<'_>,
) -> Result<BaseIds, CommandError> {
    let client = match daytona.client() {
        DaytonaClient::NoKey => return Ok(BaseIds::default()),
        DaytonaClient::Unusable(error) => {
            let cause = error_chain::line(error.as_ref());
            output.print_note(format!("base snapshots are left to the workers: {cause}"))?;
            return Ok(BaseIds::default());
        }
        DaytonaClient::Ready(client) => client,
    };
    let findings = client.look_up_bases(names).await;
    for error in findings.iter().filter_map(|finding| finding.result.as_ref().err()) {
        match error {
            BaseLookupError::Base(BaseError::Missing { .. } | BaseError::NotActive { .. }) => {
                output.print_note(format!("{error}: jobs wait until there is one"))?;
            }
            BaseLookupError::Base(BaseError::Call(error)) => {
                let cause = error_chain::line(error);
                output.print_note(format!("base snapshots are left to the workers: {cause}"))?;
            }
            BaseLookupError::TimedOut(_) => {
                output
                    .print_note("base snapshots are left to the workers: Daytona did not answer in time")?;
            }
        }
    }
    Ok(BaseIds::from(&findings[..]))
}
