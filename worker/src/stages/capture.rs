//! Sandbox to snapshot, under a name never used before. Silence is not success.

use std::time::Duration;

use daytona::{CaptureLimits, Snapshot};
use job::PrebuildName;

use crate::early_end::EarlyEnd;
use crate::failures::from_capture;
use crate::lease::Lease;

/// Captures the leased sandbox within this time.
pub(crate) async fn run(
    client: &daytona::Client,
    lease: &Lease,
    name: &PrebuildName,
    total: Duration,
) -> Result<Snapshot, EarlyEnd> {
    let usual = CaptureLimits::default();
    // The snapshot is waited for well within the total, or silence would be told as slowness.
    let limits = CaptureLimits { total, grace: usual.grace.min(total / 2), ..usual };
    client.capture(&lease.sandbox().id, &name.to_string(), limits).await.map_err(|error| from_capture(&error))
}
