//! Warms new prebuilds on more than one of Daytona's runners, where the fleet wants it: the first start on each has to pull them.
//!
//! Daytona chooses the runner, so several sandboxes are started at once and it is seen where they came to: the API allows no more.
//! What a keeper did not see being promoted, it does not warm.

use std::collections::{BTreeSet, HashSet};

use daytona::{Client, Snapshot};
use futures::future::join_all;

use super::Keeper;

impl Keeper {
    /// Warms each prebuild that is promoted from now on.
    pub(super) async fn warm(&self) {
        let (Some(client), 2..) = (&self.client, self.section.warm_runners) else {
            return std::future::pending().await;
        };
        let mut known = self.promoted();
        let mut changes = self.register.changes();
        loop {
            let promotions = self.register.promotions();
            let now = self.promoted();
            for snapshot in now.difference(&known) {
                match client.get_snapshot(snapshot).await {
                    Ok(Some(snapshot)) => self.warm_one(client, &snapshot).await,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(
                            snapshot,
                            error = error_chain::line(&error),
                            "a new prebuild was not warmed"
                        );
                    }
                }
            }
            known = now;
            while self.register.promotions() == promotions {
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    /// The snapshots of every target's promoted prebuild.
    fn promoted(&self) -> HashSet<String> {
        let states = self.register.targets();
        states.iter().filter_map(|state| Some(state.promoted.as_ref()?.snapshot_id.clone())).collect()
    }

    async fn warm_one(&self, client: &Client, snapshot: &Snapshot) {
        // All live at once, so that they do not come to the same runner one after the other.
        let starts = (0..self.section.warm_runners).map(|_| self.start_for_itself(client, snapshot));
        let started: Vec<_> = join_all(starts).await;
        let mut runners = BTreeSet::new();
        for start in started {
            match start {
                Ok(sandbox) => {
                    runners.extend(sandbox.runner_id.clone());
                    if let Err(error) = self.delete_own(client, &sandbox.id).await {
                        tracing::warn!(error = error_chain::line(&error), "a sandbox that warmed a runner");
                    }
                }
                Err(error) => tracing::warn!(
                    prebuild = snapshot.name,
                    error = error_chain::line(&error),
                    "a new prebuild was warmed on one runner fewer"
                ),
            }
        }
        tracing::info!(prebuild = snapshot.name, runners = runners.len(), "a new prebuild was warmed");
    }
}
