//! Sandbox to snapshot, under a name never used before. Silence is not success.

use daytona::{CaptureLimits, Snapshot};
use job::PrebuildName;

use crate::attempt::Ended;
use crate::failures::from_capture;
use crate::lease::Lease;

/// Captures the leased sandbox.
pub(crate) async fn run(
    client: &daytona::Client,
    lease: &Lease,
    name: &PrebuildName,
    limits: CaptureLimits,
) -> Result<Snapshot, Ended> {
    client.capture(&lease.sandbox().id, &name.to_string(), limits).await.map_err(|error| from_capture(&error))
}
