//! Single calls on snapshots. Waiting is in `wait` and `capture`.

use serde_json::json;

use crate::client::Client;
use crate::errors::Error;
use crate::ids::{SandboxId, SnapshotId};
use crate::operation::{CAPTURE, DELETE_SNAPSHOT, GET_SNAPSHOT};
use crate::sandbox_calls::DeleteOutcome;
use crate::snapshot::Snapshot;
use crate::wire::Watch;

impl Client {
    /// Asks for a sandbox to be captured and returns at once. [`Client::capture`] is what you want.
    pub async fn create_snapshot_from_sandbox(&self, id: &SandboxId, name: &str) -> Result<(), Error> {
        let arguments = [id.as_str()];
        self.send(&self.call(CAPTURE, &arguments).json(&json!({ "name": name }))?).await.map(drop)
    }

    /// The snapshot with this id or name; none when there is none.
    pub async fn get_snapshot(&self, id_or_name: impl AsRef<str>) -> Result<Option<Snapshot>, Error> {
        self.look_up_snapshot(id_or_name.as_ref(), Watch::Attempt).await
    }

    pub(crate) async fn look_up_snapshot(
        &self,
        id_or_name: &str,
        watch: Watch,
    ) -> Result<Option<Snapshot>, Error> {
        let found = self.find(&self.call(GET_SNAPSHOT, &[id_or_name]).watch(watch)).await?;
        found.map(|answer| answer.read_row()).transpose()
    }

    /// Asks for a snapshot to be deleted. The row goes later, see [`Client::delete_snapshot_and_confirm`].
    pub async fn delete_snapshot(&self, id: &SnapshotId) -> Result<DeleteOutcome, Error> {
        self.request_delete_snapshot(id, Watch::Attempt).await
    }

    pub(crate) async fn request_delete_snapshot(
        &self,
        id: &SnapshotId,
        watch: Watch,
    ) -> Result<DeleteOutcome, Error> {
        let answer = self.find(&self.call(DELETE_SNAPSHOT, &[id.as_str()]).watch(watch)).await?;
        Ok(if answer.is_some() { DeleteOutcome::Deleting } else { DeleteOutcome::AlreadyGone })
    }
}
