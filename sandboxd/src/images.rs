//! Snapshots that come from an image: pulled when they are made and when they are woken. One runner pulls one image once
//! at a time; who comes second meanwhile ends in error.

use std::sync::Arc;

use crate::capture::PULLED_SIZE;
use crate::faults::Misbehaviour;
use crate::rows::{SnapshotRow, SnapshotState, now};
use crate::server::Server;

/// What Daytona says of a pull beside another of the same image. Whoever asked asks again.
const IN_PROGRESS: &str = "An operation is already in progress for this resource";
/// What it says of an image without a name, which is what a captured snapshot has.
const NO_IMAGE: &str = "invalid reference format";

impl Server {
    /// Brings a snapshot into a state, on disk too; the row as it is then.
    pub(crate) fn set_state(
        &self,
        id: &str,
        state: SnapshotState,
        error_reason: Option<&str>,
    ) -> Option<SnapshotRow> {
        let file = {
            let mut store = self.store();
            let row = &mut store.snapshots.get_mut(id)?.file.row;
            row.state = state;
            row.updated_at = now();
            row.error_reason = error_reason.map(str::to_owned);
            store.snapshots.get(id)?.file.clone()
        };
        if let Err(error) = self.describe(&file) {
            tracing::error!(error = error_chain::line(&error), "snapshot state");
            return None;
        }
        Some(file.row)
    }

    /// Takes a pending snapshot through its pull.
    pub(crate) fn pull_image(self: &Arc<Self>, id: &str, misbehaviour: Option<Misbehaviour>) {
        let (server, id) = (Arc::clone(self), id.to_owned());
        self.tasks.spawn(async move {
            let Some(image) = server.begin_pull(&id) else {
                server.set_state(&id, SnapshotState::Error, Some(IN_PROGRESS));
                return;
            };
            if matches!(misbehaviour, Some(Misbehaviour::Stuck)) {
                server.stick().await;
            }
            if image.is_empty() {
                server.set_state(&id, SnapshotState::Error, Some(NO_IMAGE));
                return;
            }
            if let Some(snapshot) = server.store().snapshots.get_mut(&id) {
                snapshot.file.row.size = Some(PULLED_SIZE);
            }
            server.set_state(&id, SnapshotState::Active, None);
        });
    }

    /// The image to pull; none while another snapshot's pull of it is under way.
    fn begin_pull(&self, id: &str) -> Option<String> {
        let mut store = self.store();
        let image = store.snapshots.get(id)?.file.row.image_name.clone();
        let busy = store.snapshots.values().any(|other| {
            let row = &other.file.row;
            row.id != id && row.image_name == image && row.state == SnapshotState::Pulling
        });
        if busy && !image.is_empty() {
            return None;
        }
        let row = &mut store.snapshots.get_mut(id)?.file.row;
        row.state = SnapshotState::Pulling;
        row.updated_at = now();
        Some(image)
    }
}
