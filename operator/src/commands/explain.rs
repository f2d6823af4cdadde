//! `harvestctl explain`: everything about one target, and what the next tick will do with it. What cannot be asked is
//! noted; the rest is told all the same.

mod next_tick;
mod view;

use chrono::Utc;
use daytona::{BaseError, Client};
use job::{Commit, FingerprintInputs, SandboxName, Settings, Target, TargetState};
use url::Url;

use super::resolve::which;
use crate::error::{CommandError, Exit};
use crate::parts::Parts;
use crate::terminal::{Format, Terminal};
use next_tick::{Head, next_tick};
use view::{ATTEMPTS, AttemptView, BaseView, Known, Lease, view};

/// The class whose base snapshot is the target's own, unless worker.toml is changed.
const DEFAULT_CLASS: &str = "default";

pub(crate) async fn run(
    parts: &Parts,
    name: &str,
    terminal: &mut Terminal,
    format: Format,
) -> Result<Exit, CommandError> {
    let mut notes = Vec::new();
    let recorded = recorded(parts, name, &mut notes).await?;
    let target = recorded.target;
    let settings = parts.fleet_file().ok().and_then(|load| load.settings_of(&target).cloned());
    let asked = ask(parts, &target, settings.as_ref(), &mut notes).await;
    let fingerprint = settings
        .as_ref()
        .zip(asked.base.as_ref())
        .map(|(settings, base)| FingerprintInputs::new(settings, &base.id).fingerprint());
    let next_tick = next_tick(&next_tick::Known {
        listed: settings.is_some(),
        head: asked.head.as_ref(),
        fingerprint: fingerprint.as_ref(),
        state: recorded.state.as_ref(),
    });
    let known = Known {
        target,
        settings,
        settings_from: parts.fleet_file_path().display().to_string(),
        state: recorded.state,
        attempts: recorded.attempts,
        lease: asked.lease,
        base: asked.base,
        next_tick,
        notes,
    };
    terminal.show(&view(known, Utc::now()), format)?;
    Ok(Exit::Done)
}

/// What register and ledger say.
struct Recorded {
    target: Target,
    state: Option<TargetState>,
    attempts: Vec<AttemptView>,
}

async fn recorded(parts: &Parts, name: &str, notes: &mut Vec<String>) -> Result<Recorded, CommandError> {
    let opened = match parts.broker().await {
        Ok(broker) => parts.register(&broker).await.map(|register| (broker, register)),
        Err(error) => Err(error),
    };
    let (broker, register) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            notes.push(format!("without register and ledger: {}", error_chain::line(error.as_ref())));
            return Ok(Recorded { target: which(parts, name, None)?, state: None, attempts: Vec::new() });
        }
    };
    let known = register.targets().iter().map(|state| state.target.clone()).collect();
    let target = which(parts, name, Some(known))?;
    let attempts = match parts.past(&broker, ATTEMPTS, |entry| AttemptView::of(entry, &target)).await {
        Ok(attempts) => attempts.into_iter().rev().collect(),
        Err(error) => {
            notes.push(format!("without the ledger: {}", error_chain::line(error.as_ref())));
            Vec::new()
        }
    };
    let state = register.get(&target).map(|state| TargetState::clone(&state));
    broker.close().await;
    Ok(Recorded { target, state, attempts })
}

/// What Daytona and the git host say.
struct Asked {
    head: Option<Head>,
    base: Option<BaseView>,
    lease: Lease,
}

async fn ask(parts: &Parts, target: &Target, settings: Option<&Settings>, notes: &mut Vec<String>) -> Asked {
    let head = match settings {
        Some(settings) => Some(head(parts, target, settings).await),
        None => None,
    };
    let mut asked = Asked { head, base: None, lease: Lease::Unknown };
    let client = match parts.daytona() {
        Some(Ok(client)) => client,
        Some(Err(error)) => {
            notes.push(format!("without Daytona: {}", error_chain::line(error.as_ref())));
            return asked;
        }
        None => {
            notes.push("without Daytona (lease, base snapshot): DAYTONA_API_KEY is not set".to_owned());
            return asked;
        }
    };
    match lease(&client, parts, target).await {
        Ok(lease) => asked.lease = lease,
        Err(error) => notes.push(format!("the lease is unknown: {}", error_chain::line(&error))),
    }
    if let Some(settings) = settings {
        match client.base_snapshot(&settings.base_snapshot).await {
            Ok(base) => asked.base = Some(BaseView { name: base.name, id: base.id.to_string() }),
            Err(error @ (BaseError::Missing { .. } | BaseError::NotActive { .. })) => {
                notes.push(format!("{error}: jobs wait until there is one"));
            }
            Err(BaseError::Call(error)) => {
                notes.push(format!("the base snapshot is unknown: {}", error_chain::line(&error)));
            }
        }
        if settings.class != DEFAULT_CLASS {
            notes.push(format!(
                "where worker.toml gives class `{}` a base_snapshot of its own, that one is used",
                settings.class
            ));
        }
    }
    asked
}

async fn head(parts: &Parts, target: &Target, settings: &Settings) -> Head {
    let (url, remote) = match (Url::parse(&settings.clone.url), Parts::remote()) {
        (Ok(url), Ok(remote)) => (url, remote),
        (Err(error), _) => return Head::Unknown(format!("clone_url is not a URL: {error}")),
        (_, Err(error)) => return Head::Unknown(format!("{error:#}")),
    };
    let credential = parts.credential(settings);
    match remote.head(&url, target.branch(), credential.as_ref()).await {
        Ok(head) => match head.commit.as_str().parse::<Commit>() {
            Ok(commit) => Head::At(commit),
            Err(error) => Head::Unknown(error.to_string()),
        },
        Err(error) => Head::Unknown(error_chain::line(&error)),
    }
}

async fn lease(client: &Client, parts: &Parts, target: &Target) -> Result<Lease, daytona::Error> {
    let name = SandboxName::of(&parts.settings.fleet, target);
    let sandbox = client.get_sandbox(name.as_str()).await?.filter(|sandbox| !sandbox.state.is_going());
    Ok(sandbox.map_or(Lease::Free, |sandbox| Lease::Held {
        sandbox: sandbox.name,
        id: sandbox.id.to_string(),
        state: sandbox.state,
        created_at: sandbox.created_at,
        labels: sandbox.labels,
    }))
}
