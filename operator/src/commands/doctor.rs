//! `harvestctl doctor`: everything the fleet needs, checked one by one, each failure with what to do.

mod checks;
mod limits;
mod prebuilds;
mod secret_rules;
mod view;

use std::path::Path;

use account::QuotaSection;
use job::FleetName;
use settings::{Environment, Problems};

use crate::broker_access::BrokerAccess;
use crate::daytona_access::DaytonaAccess;
use crate::fleet_file_source::FleetFileSource;
use crate::git_hosts::GitHosts;
use checks::{check_broker, check_daytona, check_fleet_file, check_repositories};
use limits::check_limits;
use prebuilds::check_prebuilds;
use secret_rules::check_secret_rules;
use view::Check;
pub(super) use view::DoctorView;

/// Checks a fleet, with what it checks.
pub(super) struct Doctor<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) quota: &'a QuotaSection,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) git_hosts: &'a GitHosts,
    pub(super) environment: &'a Environment,
    pub(super) worker_config: Option<&'a Path>,
}

impl Doctor<'_> {
    /// Checks everything; what does not depend on each other at once. Daytona's key comes first: where the API refuses it, nothing
    /// else is asked with it.
    pub(super) async fn check_all(&self) -> DoctorView {
        let mut checks = vec![Check::ok("settings", format!("fleet {}", self.fleet))];
        let load = check_fleet_file(self.fleet_file, &mut checks);
        checks.push(check_secret_rules(self.worker_config, self.environment, load.as_ref()));
        let daytona = check_daytona(self.daytona, load.as_ref()).await;
        let (broker, limits, prebuilds, repositories) = tokio::join!(
            check_broker(self.broker),
            check_limits(self.fleet, self.quota, self.broker, self.daytona, load.as_ref()),
            check_prebuilds(self.fleet, self.broker, self.daytona),
            check_repositories(self.git_hosts, load.as_ref())
        );
        checks.extend(broker.into_iter().chain(daytona).chain([limits, prebuilds]).chain(repositories));
        DoctorView::new(checks)
    }
}

/// What there is to say where the settings are wrong: nothing else can be checked.
pub(super) fn report_settings(problems: &Problems) -> DoctorView {
    let remedy = "set what is missing in the environment or .env, correct the rest; everything else needs it";
    DoctorView::new(vec![Check::failed("settings", problems.to_string(), remedy)])
}
