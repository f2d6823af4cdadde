//! What this process knows of the fleet's sandboxes: those that it holds, which are nobody's leftovers whatever their labels say,
//! and how long the others have been silent, by the looks of its sweeper.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use daytona::SandboxId;
use job::LeaseSeen;

/// Shared by everything in the process that takes, or takes away, a lease.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownSandboxes(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    held: HashSet<SandboxId>,
    seen: HashMap<SandboxId, LeaseSeen>,
}

impl KnownSandboxes {
    /// Counts as held until the answer is dropped.
    pub(super) fn hold(&self, id: SandboxId) -> Hold {
        self.with(|known| known.held.insert(id.clone()));
        Hold { known: self.clone(), id }
    }

    /// Whether this process holds it.
    pub(crate) fn is_held(&self, id: &SandboxId) -> bool {
        self.with(|known| known.held.contains(id))
    }

    /// What was last seen of it.
    pub(crate) fn seen(&self, id: &SandboxId) -> Option<LeaseSeen> {
        self.with(|known| known.seen.get(id).cloned())
    }

    /// Remembers what was seen of these, and of no others.
    pub(crate) fn replace_seen(&self, seen: HashMap<SandboxId, LeaseSeen>) {
        self.with(|known| known.seen = seen);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One sandbox that is held.
#[derive(Debug)]
pub(super) struct Hold {
    known: KnownSandboxes,
    id: SandboxId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.known.with(|known| known.held.remove(&self.id));
    }
}
