//! What commands work with. Each takes those that it uses, and opens them itself, so that one that is down stops only the
//! commands that cannot do without it.

use std::path::PathBuf;

use account::QuotaSection;
use chrono::TimeDelta;
use job::FleetName;
use settings::Environment;

use crate::OperatorSettings;
use crate::acts::OperatorActs;
use crate::broker_access::BrokerAccess;
use crate::daytona_access::DaytonaAccess;
use crate::fleet_file_source::FleetFileSource;
use crate::git_hosts::GitHosts;

/// Everything of a fleet that a command may ask; handed out one by one.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) fleet: FleetName,
    pub(crate) fleet_file: FleetFileSource,
    pub(crate) broker: BrokerAccess,
    pub(crate) daytona: DaytonaAccess,
    pub(crate) git_hosts: GitHosts,
    pub(crate) acts: OperatorActs,
    /// The organization's limits, as far as they are known.
    pub(crate) quota: QuotaSection,
    /// How long a target has to be gone from the fleet file before its prebuilds are removed.
    pub(crate) gone: TimeDelta,
}

impl Services {
    /// From the settings and the environment, which has the tokens for git hosts. `fleet_file` wins over the settings'.
    pub(crate) fn new(
        settings: OperatorSettings,
        environment: &Environment,
        fleet_file: Option<PathBuf>,
    ) -> Self {
        let user = environment.get("USER").or_else(|| environment.get("HOSTNAME")).unwrap_or("somebody");
        let operator = format!("harvestctl by {user}");
        Self {
            fleet: settings.fleet,
            fleet_file: FleetFileSource::new(fleet_file.unwrap_or(settings.fleet_file)),
            broker: BrokerAccess::new(settings.broker.named(&operator)),
            daytona: DaytonaAccess::new(settings.daytona),
            git_hosts: GitHosts::new(environment),
            acts: OperatorActs::new(operator),
            quota: settings.quota,
            gone: TimeDelta::from_std(settings.keeper.gone).unwrap_or(TimeDelta::MAX),
        }
    }
}
