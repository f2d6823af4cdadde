//! `harvestctl explain`: everything about one target, and what the next tick will do with it. What cannot be asked is
//! noted; the rest is answered all the same.

mod next_tick;
mod view;

use chrono::{TimeDelta, Utc};
use daytona::{BaseError, Client};
use job::{Commit, FingerprintInputs, FleetName, PrebuildRecord, SandboxName, Settings, Target, TargetState};

use crate::broker_access::{BrokerAccess, read_ledger};
use crate::commands::prebuilds::{ListedPrebuild, list, look_up};
use crate::daytona_access::{DaytonaAccess, DaytonaClient, find_occupants};
use crate::error::CommandError;
use crate::fleet_file_source::FleetFileSource;
use crate::git_hosts::{GitHosts, HeadUnknown};
use crate::targets::find_target;
use next_tick::{Head, TickFacts, predict};
use view::{ATTEMPTS, AttemptView, BaseView, ExplainView, Lease, TargetFacts, view};

/// The class whose base snapshot is the target's own, unless worker.toml is changed.
const DEFAULT_CLASS: &str = "default";

/// Gathers what is known of a target, with what it asks.
pub(super) struct Explainer<'a> {
    pub(super) fleet: &'a FleetName,
    pub(super) fleet_file: &'a FleetFileSource,
    pub(super) broker: &'a BrokerAccess,
    pub(super) daytona: &'a DaytonaAccess,
    pub(super) git_hosts: &'a GitHosts,
    /// How long a target has to be gone from the fleet file before its prebuilds are removed.
    pub(super) gone: TimeDelta,
}

/// What register and ledger have of the target.
struct Records {
    target: Target,
    state: Option<TargetState>,
    attempts: Vec<AttemptView>,
}

/// What Daytona has of the target.
struct InDaytona {
    base: Option<BaseView>,
    lease: Lease,
    /// Each of the register's prebuilds, with Daytona's word where it was asked.
    prebuilds: Vec<ListedPrebuild>,
}

impl Explainer<'_> {
    /// Everything about the target that `name` means.
    pub(super) async fn explain(&self, name: &str) -> Result<ExplainView, CommandError> {
        let mut notes = Vec::new();
        let Records { target, state, attempts } = self.read_records(name, &mut notes).await?;
        let settings = self.fleet_file.load().ok().and_then(|load| load.settings_of(&target).cloned());
        let head = match &settings {
            Some(settings) => Some(self.find_head(&target, settings).await),
            None => None,
        };
        let asked = (&target, state.as_ref(), settings.as_ref());
        let InDaytona { base, lease, prebuilds } = self.ask_daytona(asked, &mut notes).await;
        let usable = state.as_ref().map(|state| only_usable(state, &prebuilds));
        let fingerprint = settings
            .as_ref()
            .zip(base.as_ref())
            .map(|(settings, base)| FingerprintInputs::new(settings, &base.id).fingerprint());
        let next_tick = predict(&TickFacts {
            is_listed: settings.is_some(),
            head: head.as_ref(),
            fingerprint: fingerprint.as_ref(),
            state: usable.as_ref(),
            now: Utc::now(),
        });
        let settings_from = self.fleet_file.path().display().to_string();
        let facts = TargetFacts {
            target,
            settings,
            settings_from,
            state,
            attempts,
            lease,
            base,
            prebuilds,
            next_tick,
            patience: self.gone,
            notes,
        };
        Ok(view(facts, Utc::now()))
    }

    async fn read_records(&self, name: &str, notes: &mut Vec<String>) -> Result<Records, CommandError> {
        let (broker, register) = match self.broker.connect_with_register().await {
            Ok(opened) => opened,
            Err(error) => {
                notes.push(format!("without register and ledger: {}", error_chain::line(error.as_ref())));
                let target = find_target(name, self.fleet_file, None)?;
                return Ok(Records { target, state: None, attempts: Vec::new() });
            }
        };
        let known = register.targets().iter().map(|state| state.target.clone()).collect();
        let target = find_target(name, self.fleet_file, Some(known))?;
        let attempts = match read_ledger(&broker, ATTEMPTS, |entry| AttemptView::of(entry, &target)).await {
            Ok(attempts) => attempts.into_iter().rev().collect(),
            Err(error) => {
                notes.push(format!("without the ledger: {}", error_chain::line(error.as_ref())));
                Vec::new()
            }
        };
        let state = register.get(&target).map(|state| TargetState::clone(&state));
        broker.close().await;
        Ok(Records { target, state, attempts })
    }

    async fn find_head(&self, target: &Target, settings: &Settings) -> Head {
        let client = match GitHosts::client() {
            Ok(client) => client,
            Err(error) => return Head::Unknown(format!("{error:#}")),
        };
        match self.git_hosts.find_head(&client, target, settings).await {
            Ok(head) => match head.commit.as_str().parse::<Commit>() {
                Ok(commit) => Head::At(commit),
                Err(error) => Head::Unknown(error.to_string()),
            },
            Err(HeadUnknown::CloneUrl(error)) => Head::Unknown(format!("clone_url is not a URL: {error}")),
            Err(HeadUnknown::Host(error)) => Head::Unknown(error_chain::line(&error)),
        }
    }

    async fn ask_daytona(
        &self,
        (target, state, settings): (&Target, Option<&TargetState>, Option<&Settings>),
        notes: &mut Vec<String>,
    ) -> InDaytona {
        let mut found = InDaytona { base: None, lease: Lease::Unknown, prebuilds: Vec::new() };
        let client = match self.daytona.client() {
            DaytonaClient::Ready(client) => client,
            DaytonaClient::Unusable(error) => {
                notes.push(format!("without Daytona: {}", error_chain::line(error.as_ref())));
                return found;
            }
            DaytonaClient::NoKey => {
                notes.push(
                    "without Daytona (lease, prebuilds, base snapshot): DAYTONA_API_KEY is not set"
                        .to_owned(),
                );
                return found;
            }
        };
        let name = SandboxName::of(self.fleet, target);
        match find_lease(&client, &name).await {
            Ok(lease) => found.lease = lease,
            Err(error) => notes.push(format!("the lease is unknown: {}", error_chain::line(&error))),
        }
        let mut prebuilds = state.map(|state| list(state, Utc::now())).unwrap_or_default();
        match look_up(&client, &name.prebuild_prefix(), &mut prebuilds).await {
            Ok(()) => {
                notes.extend(prebuilds.iter().filter(|prebuild| prebuild.is_asleep()).map(|prebuild| {
                    format!(
                        "{} sleeps in Daytona, and counts as missing: nothing starts from it, and activating it would destroy it",
                        prebuild.name
                    )
                }));
                found.prebuilds = prebuilds;
            }
            Err(error) => {
                notes.push(format!("prebuilds were not looked up: {}", error_chain::line(&error)));
            }
        }
        if let Some(settings) = settings {
            found.base = find_base(&client, settings, notes).await;
        }
        found
    }
}

/// The state without the prebuilds that Daytona does not have: what the next tick finds.
fn only_usable(state: &TargetState, looked_up: &[ListedPrebuild]) -> TargetState {
    let is_there = |prebuild: &PrebuildRecord| {
        looked_up.iter().find(|listed| listed.name == prebuild.name).is_none_or(ListedPrebuild::is_usable)
    };
    let mut usable = state.clone();
    usable.promoted = usable.promoted.filter(is_there);
    usable.kept.retain(is_there);
    usable
}

async fn find_base(client: &Client, settings: &Settings, notes: &mut Vec<String>) -> Option<BaseView> {
    let base = match client.base_snapshot(&settings.base_snapshot).await {
        Ok(base) => Some(BaseView { name: base.name, id: base.id.to_string() }),
        Err(error @ (BaseError::Missing { .. } | BaseError::NotActive { .. })) => {
            notes.push(format!("{error}: jobs wait until there is one"));
            None
        }
        Err(BaseError::Call(error)) => {
            notes.push(format!("the base snapshot is unknown: {}", error_chain::line(&error)));
            None
        }
    };
    if settings.class != DEFAULT_CLASS {
        notes.push(format!(
            "where worker.toml gives class `{}` a base_snapshot of its own, that one is used",
            settings.class
        ));
    }
    base
}

async fn find_lease(client: &Client, name: &SandboxName) -> Result<Lease, daytona::Error> {
    let mut occupants = find_occupants(client, name).await?;
    let Some(holder) = occupants.pop() else { return Ok(Lease::Free) };
    Ok(Lease::Held {
        sandbox: holder.name,
        id: holder.id.to_string(),
        state: holder.state,
        created_at: holder.created_at,
        labels: holder.labels,
        passed_over: occupants.into_iter().map(|sandbox| sandbox.name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{now, prebuild, state};

    #[test]
    fn what_daytona_lost_is_none_for_the_next_tick() {
        let of = "acme/service@main";
        let state = TargetState { promoted: Some(prebuild(of, now())), ..state(of) };
        let mut listed = list(&state, now());
        assert_eq!(only_usable(&state, &listed), state, "nobody was asked");
        for (word, promoted) in [("active", 1), ("inactive", 0), ("missing", 0), ("error", 0)] {
            listed[0].in_daytona = Some(word.to_owned());
            assert_eq!(only_usable(&state, &listed).prebuilds().count(), promoted, "{word}");
        }
    }
}
