//! What a worker is made of, wired once in `run`; everything else takes the few parts it uses.

use std::time::Duration;

use broker::Register;
use daytona::CaptureLimits;
use job::{Failure, FailureKind, RetryPolicy, Scope, Timeouts};
use remote::{Credential, Remote};
use settings::{Secrets, ToolchainMirrors};

use crate::attempt::{Attempt, Ended};
use crate::base::BaseSnapshots;
use crate::failures::chain;
use crate::lease::Leases;
use crate::metrics::Instruments;
use crate::stages::provision::RoomPolicy;
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
    pub(crate) policy: RetryPolicy,
    pub(crate) room: RoomPolicy,
    pub(crate) limits: Limits,
    pub(crate) mirrors: ToolchainMirrors,
}

/// How long things may take or stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// An idle sandbox stops itself after this.
    pub(crate) idle: Duration,
    /// No sandbox of the fleet lives longer.
    pub(crate) ttl: Duration,
    /// A prebuild used this recently is not collected.
    pub(crate) in_use_for: chrono::Duration,
    /// How often a long command is looked at.
    pub(crate) poll: Duration,
    /// How long a command that is told to end may take.
    pub(crate) kill_grace: Duration,
    /// Less free disk than this fails the attempt, MB.
    pub(crate) min_free_disk_mb: u64,
}

impl Limits {
    pub(crate) fn capture(&self, timeouts: &Timeouts) -> CaptureLimits {
        CaptureLimits { total: timeouts.capture, ..CaptureLimits::default() }
    }
}

impl Parts {
    /// The credential for this attempt's repository; none when the worker has none: public repositories build without.
    pub(crate) fn credential_of(&self, attempt: &Attempt) -> Option<Credential> {
        let clone = &attempt.job.settings.clone;
        let token = self.secrets.get(&clone.token_secret).ok()?;
        Some(Credential { user: Some(clone.user.clone()), token })
    }

    /// Waits until the register shows everything written before now.
    pub(crate) async fn caught_up(&self) -> Result<(), Ended> {
        self.register.sync(CATCH_UP).await.map_err(|error| {
            Failure::new(FailureKind::Internal, format!("the register could not be read: {}", chain(&error)))
                .touching(Scope::Target)
                .into()
        })
    }
}
