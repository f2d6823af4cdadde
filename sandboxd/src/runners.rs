//! Runners: which one takes a sandbox, how long a sandbox waits for one, and what a runner has to pull before it can start it.

use crate::rows::{SandboxState, now};
use crate::server::{Server, Source, Store};

impl Server {
    /// Runners take sandboxes in turn.
    pub(crate) fn next_runner(&self, store: &mut Store) -> String {
        store.created = store.created.wrapping_add(1);
        format!("runner-{}", store.created % self.settings.transfers.runners.max(1))
    }

    /// Waits for a runner where there is none: until the faults are cleared, or for as long as the sandbox may wait.
    pub(crate) async fn leaves_the_queue(&self, id: &str) -> bool {
        let waits = self.store().sandboxes.get(id).and_then(|sandbox| {
            let queued = sandbox.row.state == SandboxState::PullingSnapshot;
            sandbox.row.queue_timeout.filter(|_| queued)
        });
        let Some(minutes) = waits else { return true };
        let found = tokio::select! {
            () = self.stick() => true,
            () = tokio::time::sleep(self.settings.minute * minutes) => false,
        };
        let mut store = self.store();
        let runner = self.next_runner(&mut store);
        let Some(sandbox) = store.sandboxes.get_mut(id) else { return false };
        if found {
            sandbox.row.runner_id = Some(runner);
            sandbox.enter(SandboxState::Creating);
        } else {
            sandbox.row.queue_timed_out_at = Some(now());
            sandbox.enter(SandboxState::Destroyed);
        }
        found
    }

    /// A runner drops its own image once it is pushed: the first start on each pulls, on the one that captured too.
    pub(crate) async fn pull(&self, id: &str, from: &Source) {
        let runner = self.store().sandboxes.get(id).and_then(|sandbox| sandbox.row.runner_id.clone());
        let pulled = (from.snapshot.clone(), runner.unwrap_or_default());
        if self.store().pulled.contains(&pulled) {
            return;
        }
        self.transfer(self.settings.transfers.pull_per_megabyte, from.added_bytes).await;
        self.store().pulled.insert(pulled);
    }
}
