//! What a worker is made of, wired once in `run`; everything else takes the few parts it uses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::Register;

use job::{Failure, FailureKind, RetryPolicy, Scope};
use remote::{Credential, Remote};
use secrecy::SecretString;
use settings::Secrets;

use crate::attempt::Attempt;
use crate::base::{BaseSnapshots, ClassSection, WantedBase};
use crate::early_end::EarlyEnd;
use crate::lease::Leases;
use crate::metrics::Instruments;
use crate::sandbox::{Redactor, Sandbox, Watching};
use crate::stages::provision::SandboxSection;
use crate::stages::toolchain::Mirrors;
use crate::story::Story;

/// How long the register may take to catch up before an attempt gives up on it.
const CATCH_UP: Duration = Duration::from_secs(30);

/// The parts of a worker that its slots share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) worker: String,
    pub(crate) fleet: job::FleetName,
    pub(crate) leases: Leases,
    pub(crate) remote: Remote,
    pub(crate) base: BaseSnapshots,
    pub(crate) register: Register,
    pub(crate) story: Story,
    pub(crate) metrics: Instruments,
    pub(crate) secrets: Secrets,
    pub(crate) classes: BTreeMap<String, ClassSection>,
    pub(crate) policy: RetryPolicy,
    pub(crate) sandboxes: SandboxSection,
    pub(crate) limits: Limits,
    pub(crate) mirrors: Mirrors,
}

/// How long things may take or stay.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// A prebuild used this recently is not collected.
    pub(crate) in_use_for: chrono::Duration,
    /// How long commands are watched.
    pub(crate) watching: Watching,
}

impl Parts {
    /// What this attempt's cold build starts from: its class's base, which the job's maker knows nothing of, or else its job's.
    pub(crate) fn base_of(&self, attempt: &Attempt) -> Result<WantedBase, EarlyEnd> {
        let settings = &attempt.job.settings;
        let class = self.classes.get(&settings.class).ok_or_else(|| {
            Failure::new(
                FailureKind::ProvisionBaseMissing,
                format!(
                    "class `{}` is not in worker.toml: add [classes.{}], or correct fleet.toml",
                    settings.class, settings.class
                ),
            )
        })?;
        Ok(match &class.base_snapshot {
            Some(name) => WantedBase { name: name.clone(), id: None },
            None => {
                WantedBase { name: settings.base_snapshot.clone(), id: attempt.job.base_snapshot_id.clone() }
            }
        })
    }

    /// The toolbox of a sandbox, with everything that must not be said scrubbed from what it says.
    pub(crate) fn open(&self, attempt: &Attempt, toolbox: daytona::Toolbox) -> Sandbox {
        let settings = &attempt.job.settings;
        let named = settings.secrets.iter().map(String::as_str).chain([settings.clone.token_secret.as_str()]);
        let known: BTreeMap<String, SecretString> = self.secrets.to_search_for(named).into_iter().collect();
        Sandbox::new(toolbox, Arc::new(Redactor::new(&known)), self.limits.watching.clone(), attempt.id)
    }

    /// The credential for this attempt's repository; none when the worker has none: public repositories build without.
    pub(crate) fn credential_of(&self, attempt: &Attempt) -> Option<Credential> {
        let clone = &attempt.job.settings.clone;
        let token = self.secrets.get(&clone.token_secret).ok()?;
        Some(Credential { user: Some(clone.user.clone()), token })
    }

    /// Waits until the register shows everything written before now.
    pub(crate) async fn caught_up(&self) -> Result<(), EarlyEnd> {
        self.register.sync(CATCH_UP).await.map_err(|error| {
            let text = format!("the register in RabbitMQ could not be read: {}", error_chain::line(&error));
            Failure::new(FailureKind::RegisterUnavailable, text).with_scope(Scope::Broker).into()
        })
    }
}
