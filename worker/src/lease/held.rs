//! The sandboxes that this process holds: it takes none of them from itself, whatever their labels say.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use daytona::SandboxId;

/// Shared by everything in the process that takes a lease.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldSandboxes(Arc<Mutex<HashSet<SandboxId>>>);

impl HeldSandboxes {
    /// Counts as held until the answer is dropped.
    pub(super) fn hold(&self, id: SandboxId) -> Hold {
        self.with(|held| held.insert(id.clone()));
        Hold { held: self.clone(), id }
    }

    /// Whether this process holds it.
    pub(crate) fn is_held(&self, id: &SandboxId) -> bool {
        self.with(|held| held.contains(id))
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashSet<SandboxId>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One sandbox that is held.
#[derive(Debug)]
pub(super) struct Hold {
    held: HeldSandboxes,
    id: SandboxId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.with(|held| held.remove(&self.id));
    }
}
