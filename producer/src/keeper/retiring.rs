//! Retires targets that are gone from the fleet file: after a while their prebuilds are withdrawn, and the collection deletes them.
//!
//! Nothing of it happens at once, and never to more than a tenth of the fleet in a day: an emptied file is a mistake more often than a
//! wish. Whatever was decided stands in the register, so that another keeper goes on where this one ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker::SyncError;
use chrono::TimeDelta;
use job::{
    Concern, DueRetirements, EntryVersion, Folded, Revocation, Revoked, Target, due_retirements,
    listing_changes,
};

use super::{Keeper, REGISTER_READ};

impl Keeper {
    /// Looks whenever the fleet file changes, and every so often.
    pub(super) async fn retire(&self) {
        let mut listing = self.listing.clone();
        let mut held_before = 0;
        loop {
            match self.retire_once().await {
                Ok(held) => {
                    self.metrics.record_held_retirements(held);
                    if held > 0 && held_before == 0 {
                        tracing::warn!(
                            targets = held,
                            "more targets have been gone from the fleet file for so long than are retired in a day; \
                             where that is meant: harvestctl prebuilds retire"
                        );
                    }
                    held_before = held;
                }
                Err(error) => tracing::warn!(
                    error = error_chain::line(&error),
                    "what is gone from the fleet file could not be noted; the next look tries again"
                ),
            }
            // A target is due by the time that goes by, and not by any event.
            tokio::select! {
                () = tokio::time::sleep(self.section.collect) => {}
                Ok(()) = listing.changed() => {}
            }
        }
    }

    /// Notes what is gone and what has come back, retires what is due, and says how many more are.
    async fn retire_once(&self) -> Result<usize, SyncError> {
        let Some(listing) = self.listing.borrow().clone() else { return Ok(0) };
        let is_as_it_was = || self.listing.borrow().as_ref().is_some_and(|now| Arc::ptr_eq(now, &listing));
        self.register.sync(REGISTER_READ).await?;
        let listed: BTreeSet<Target> = listing.targets.iter().map(|(target, _)| target.clone()).collect();
        let states = self.register.targets();
        let states = || states.iter().map(AsRef::as_ref);
        let now = self.clock.now();
        for (target, change) in listing_changes(states(), &listed, listing.problems, now) {
            self.register.append(&target, Concern::Listing(change), REGISTER_READ).await?;
            tracing::info!(%target, ?change, "the fleet file has changed about a target");
        }
        let gone = states().filter(|state| state.gone.is_some_and(|gone| gone.retired.is_none())).count();
        self.metrics.record_gone_targets(gone);
        if listing.problems > 0 {
            return Ok(0);
        }
        let patience = TimeDelta::from_std(self.section.gone).unwrap_or(TimeDelta::MAX);
        let DueRetirements { now: due, held } = due_retirements(states(), &listed, patience, now);
        for (target, gone) in due {
            // Each takes its time, and the file may have been mended meanwhile: the next look, which follows, sees that first.
            if !is_as_it_was() {
                return Ok(0);
            }
            self.retire_target(&target, gone).await?;
        }
        Ok(held.len())
    }

    async fn retire_target(&self, target: &Target, gone: EntryVersion) -> Result<(), SyncError> {
        let revocation = Revocation { of: Revoked::Retired { gone }, until: self.clock.now() };
        match self.register.append(target, Concern::Revocation(revocation), REGISTER_READ).await? {
            Folded::Taken => tracing::info!(
                %target,
                "prebuilds withdrawn: their target has been gone from the fleet file for long"
            ),
            Folded::Refused | Folded::Outdated | Folded::Overtaken => {
                tracing::info!(%target, "not retired: it has come back to the fleet file");
            }
        }
        Ok(())
    }
}
