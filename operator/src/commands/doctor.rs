//! `harvestctl doctor`: everything the fleet needs, looked at one by one, each failure with what to do.

mod checks;
mod view;

use settings::Problems;

use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::terminal::{Format, Terminal};
use checks::{check_broker, check_daytona, check_fleet_file, check_repositories};
use view::{Check, DoctorView};

pub(crate) async fn run(
    parts: Result<Parts, Problems>,
    terminal: &mut Terminal,
    format: Format,
) -> Result<Exit, CommandError> {
    let parts = match parts {
        Ok(parts) => parts,
        Err(problems) => {
            let remedy =
                "set what is missing in the environment or .env, correct the rest; everything else needs it";
            let check = Check::failed("settings", problems.to_string(), remedy);
            terminal.show(&DoctorView::new(vec![check]), format)?;
            return Ok(Exit::Failed);
        }
    };
    let mut checks = vec![Check::ok("settings", format!("fleet {}", parts.settings.fleet))];
    let load = check_fleet_file(&parts, &mut checks);
    let (broker, daytona, repositories) = tokio::join!(
        check_broker(&parts),
        check_daytona(&parts, load.as_ref()),
        check_repositories(&parts, load.as_ref())
    );
    checks.extend(broker.into_iter().chain(daytona).chain(repositories));
    let view = DoctorView::new(checks);
    let exit = if view.ok { Exit::Done } else { Exit::Failed };
    terminal.show(&view, format)?;
    Ok(exit)
}
