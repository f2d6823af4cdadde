//! The checks of the doctor: each asks one thing and says what it found.

use std::collections::BTreeSet;

use broker::Broker;
use chrono::{DateTime, Utc};
use daytona::{BaseError, Client, ErrorKind, Permission, Region, SLEEPS_AFTER, Snapshot};
use futures::StreamExt;
use job::{Settings, Target};
use remote::{HeadError, Remote};
use settings::FleetLoad;

use super::view::Check;
use crate::broker_access::BrokerAccess;
use crate::daytona_access::{DaytonaAccess, DaytonaClient};
use crate::fleet_file_source::FleetFileSource;
use crate::git_hosts::{GitHosts, HeadUnknown};

/// How many repositories are asked at once.
const AT_ONCE: usize = 8;

pub(super) fn check_fleet_file(fleet_file: &FleetFileSource, checks: &mut Vec<Check>) -> Option<FleetLoad> {
    const NAME: &str = "fleet file";
    match fleet_file.load() {
        Err(error) => {
            let remedy = "correct it, or name another: --fleet-file or HARVEST_FLEET_FILE";
            checks.push(Check::failed(NAME, error.to_string(), remedy));
            None
        }
        Ok(load) => {
            let count = format!("{} targets", load.targets.len());
            if load.problems.is_empty() {
                checks.push(Check::ok(NAME, count));
            } else {
                let problems: Vec<String> = load.problems.iter().map(ToString::to_string).collect();
                let detail =
                    format!("{count}; wrong entries, which nothing builds:\n{}", problems.join("\n"));
                checks.push(Check::failed(NAME, detail, "correct these entries"));
            }
            Some(load)
        }
    }
}

/// Reachable, the login right, and the topology as it must be.
pub(super) async fn check_broker(broker: &BrokerAccess) -> Vec<Check> {
    const REACHED: &str = "RabbitMQ";
    const TOPOLOGY: &str = "queues";
    let settings = broker.settings().clone();
    let address = settings.address().unwrap_or_else(|error| error.to_string());
    match Broker::connect(settings).await {
        Ok(broker) => {
            let depths = broker.queue_depths().await;
            broker.close().await;
            let topology = match depths {
                Ok(depths) => Check::ok(
                    TOPOLOGY,
                    format!("declared; {} jobs wait, {} dead letters", depths.waiting(), depths.dead),
                ),
                Err(error) => {
                    Check::failed(TOPOLOGY, error_chain::line(&error), "look at RabbitMQ's own log")
                }
            };
            vec![Check::ok(REACHED, address), topology]
        }
        Err(error @ broker::ConnectError::Topology(_)) => {
            let remedy = "a queue of this fleet was declared otherwise, by another version or with other retry delays: \
                          delete it once it is empty, or choose another fleet name";
            vec![Check::ok(REACHED, address), Check::failed(TOPOLOGY, error_chain::line(&error), remedy)]
        }
        Err(error) => vec![
            Check::failed(REACHED, error_chain::line(&error), "check AMQP_URL, and that the broker runs"),
            Check::skipped(TOPOLOGY, "RabbitMQ cannot be used"),
        ],
    }
}

/// The key, what it may do, the base snapshots.
pub(super) async fn check_daytona(daytona: &DaytonaAccess, load: Option<&FleetLoad>) -> Vec<Check> {
    const KEY: &str = "Daytona key";
    let client = match daytona.client() {
        DaytonaClient::NoKey => {
            let remedy = "set DAYTONA_API_KEY (dtn_...): no worker starts without it, and no producer sweeps";
            return vec![Check::failed(KEY, "DAYTONA_API_KEY is not set", remedy)];
        }
        DaytonaClient::Unusable(error) => {
            return vec![Check::failed(
                KEY,
                format!("{error:#}"),
                "check DAYTONA_API_URL and DAYTONA_API_KEY",
            )];
        }
        DaytonaClient::Ready(client) => client,
    };
    let mut checks = match client.whoami().await {
        Err(error) => {
            let refused = matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Forbidden);
            let remedy = if refused {
                "make another key in Daytona's dashboard"
            } else {
                "check DAYTONA_API_URL (it ends in /api), and that Daytona is up"
            };
            return vec![Check::failed(KEY, error_chain::line(&error), remedy)];
        }
        Ok(key) => vec![check_key(&key)],
    };
    checks.push(check_region(&client).await);
    let bases: BTreeSet<&str> =
        load.into_iter().flat_map(|load| &load.targets).map(|(_, s)| s.base_snapshot.as_str()).collect();
    for base in bases {
        checks.push(check_base(&client, base).await);
    }
    checks
}

fn check_key(key: &daytona::ApiKey) -> Check {
    let missing = key.missing();
    let expires = key.expires_at.map(|then| format!(", expires {}", crate::time::absolute(then)));
    let name = format!("`{}`{}", key.name, expires.unwrap_or_default());
    if missing.is_empty() {
        return Check::ok("Daytona key", name);
    }
    let list = |permissions: &[Permission]| {
        permissions.iter().map(Permission::as_str).collect::<Vec<_>>().join(", ")
    };
    Check::failed(
        "Daytona key",
        format!("{name} lacks {}", list(&missing)),
        format!("make a key with {}", list(&Permission::NEEDED)),
    )
}

/// Whether the region that sandboxes are made in is there.
async fn check_region(client: &Client) -> Check {
    const NAME: &str = "Daytona region";
    let Some(target) = &client.settings().target else {
        return Check::ok(NAME, "the organization's default (DAYTONA_TARGET is not set)");
    };
    let regions = match client.regions().await {
        Ok(regions) => regions,
        Err(error) => {
            let detail = format!("`{target}` was not looked up: {}", error_chain::line(&error));
            return Check::warning(NAME, detail, "see the Daytona key");
        }
    };
    if regions.iter().any(|region| region.is_called(target)) {
        return Check::ok(NAME, format!("`{target}`"));
    }
    let names: Vec<&str> = regions.iter().map(Region::shown).collect();
    let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Check::failed(
        NAME,
        format!("there is no region `{target}`; there are: {there_are}"),
        "correct DAYTONA_TARGET (`target` in [daytona]), or leave it empty for the organization's default",
    )
}

async fn check_base(client: &Client, base: &str) -> Check {
    let check = format!("base snapshot {base}");
    match client.base_snapshot(base).await {
        Ok(snapshot) => judge_base(check, &snapshot, Utc::now()),
        Err(error @ BaseError::NotActive { .. }) => {
            let remedy = "one made from an image (snapshot/build.sh): activate it in Daytona's dashboard. One captured from a sandbox \
                          can't be woken: make it anew under another tag and delete this one, and the newest active \
                          one named so with a tag is taken";
            Check::failed(check, error.to_string(), remedy)
        }
        Err(error @ BaseError::Missing { .. }) => {
            let remedy = "make it with snapshot/build.sh, or correct `base_snapshot` in fleet.toml";
            Check::failed(check, error.to_string(), remedy)
        }
        Err(BaseError::Call(error)) => Check::failed(check, error_chain::line(&error), "see the Daytona key"),
    }
}

/// Of one that is active: whether somebody keeps it so. The producer starts from each once three quarters of the time are over.
fn judge_base(check: String, snapshot: &Snapshot, now: DateTime<Utc>) -> Check {
    let detail = format!("{} ({}) is active", snapshot.name, snapshot.id);
    let idle = snapshot.idle_at(now);
    if idle < SLEEPS_AFTER / 4 * 3 {
        return Check::ok(check, detail);
    }
    let days = idle.as_secs() / (24 * 60 * 60);
    let detail = format!(
        "{detail}, and no sandbox was started from it for {days} days: Daytona puts it to sleep after 14, unless the organization \
         has another setting, and then nothing is built anew"
    );
    let remedy = "run a producer with DAYTONA_API_KEY, which starts from it in time ([keeper] sleeps_after); or start a sandbox from \
                  it now";
    Check::warning(check, detail, remedy)
}

/// The head of every branch, as a worker with this environment would see it.
pub(super) async fn check_repositories(git_hosts: &GitHosts, load: Option<&FleetLoad>) -> Vec<Check> {
    let Some(load) = load else { return Vec::new() };
    let client = match GitHosts::client() {
        Ok(client) => client,
        Err(error) => return vec![Check::failed("repositories", format!("{error:#}"), "see the cause")],
    };
    let checks =
        load.targets.iter().map(|(target, settings)| check_head(git_hosts, &client, target, settings));
    futures::stream::iter(checks).buffered(AT_ONCE).collect().await
}

async fn check_head(git_hosts: &GitHosts, client: &Remote, target: &Target, settings: &Settings) -> Check {
    let check = target.to_string();
    match git_hosts.find_head(client, target, settings).await {
        Ok(head) => Check::ok(check, format!("head {head}", head = head.commit)),
        Err(HeadUnknown::CloneUrl(error)) => {
            Check::failed(check, error.to_string(), "correct `clone_url` in fleet.toml")
        }
        Err(HeadUnknown::Host(error)) => {
            let remedy = choose_remedy(&error, &settings.clone.token_secret);
            Check::failed(check, error_chain::line(&error), remedy)
        }
    }
}

fn choose_remedy(error: &HeadError, token: &str) -> String {
    match error {
        HeadError::BranchMissing { .. } => "correct `branch` in fleet.toml, or push the branch".to_owned(),
        HeadError::RepositoryMissing { had_credential: true, .. } => {
            format!("check the name in fleet.toml, and that the token in {token} may read this repository")
        }
        HeadError::RepositoryMissing { .. } => {
            format!("check the name in fleet.toml; if it is private, set a token that may read it in {token}")
        }
        HeadError::Unauthorized { had_credential: true, .. } => {
            format!("the token in {token} is wrong, expired, or may not read this repository")
        }
        HeadError::Unauthorized { .. } => format!("set a token that may read it in {token}"),
        HeadError::RateLimited { .. } => {
            format!("wait, or set a token in {token}: hosts allow more with one")
        }
        HeadError::HostUnavailable { .. } => {
            "check the host and the network; it may pass by itself".to_owned()
        }
        HeadError::Moved { to, .. } => {
            format!("if that is right, name {to} in fleet.toml (`name` or `clone_url`)")
        }
        HeadError::Refused { .. }
        | HeadError::Undecodable { .. }
        | HeadError::TooLarge { .. }
        | HeadError::Redirected { .. }
        | HeadError::UnusableUrl { .. } => "correct `clone_url` in fleet.toml".to_owned(),
        HeadError::GitMissing { .. } | HeadError::GitFailed { .. } => {
            "install git; it reads repositories in folders".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::super::view::Finding;
    use super::*;

    #[test]
    fn a_base_that_nobody_starts_from_is_warned_of() {
        let now = Utc::now();
        let judged = |created: i64, used: Option<i64>| {
            let at = |days| now - TimeDelta::days(days);
            let row = json!({ "id": "b", "name": "base.a", "state": "active", "createdAt": at(created), "lastUsedAt": used.map(at) });
            judge_base("base snapshot base".to_owned(), &serde_json::from_value(row).unwrap(), now).finding
        };
        for fresh in [judged(1, None), judged(90, Some(10)), judged(90, Some(0))] {
            assert!(matches!(fresh, Finding::Ok { .. }), "{fresh:?}");
        }
        for idle in [judged(11, None), judged(90, Some(12))] {
            assert!(matches!(&idle, Finding::Warning { detail, .. } if detail.contains("for 1")), "{idle:?}");
        }
    }
}
