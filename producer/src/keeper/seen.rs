//! What the keeper has seen of the fleet's sandboxes, for the jobs that this very process publishes: who finds a target taken goes
//! on from it, and needs not wait anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use job::{FleetName, LeaseSeen, SandboxName, Target};

/// Shared by who sweeps and who publishes; by the sandbox's name.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenSandboxes(Arc<Mutex<HashMap<String, LeaseSeen>>>);

impl SeenSandboxes {
    /// Remembers these, and no others.
    pub(super) fn replace(&self, seen: HashMap<String, LeaseSeen>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Of those under the target's names, the ones that showed the same sign at two looks or more.
    pub(crate) fn of_target(&self, fleet: &FleetName, target: &Target) -> Vec<LeaseSeen> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() {
            return Vec::new();
        }
        let names = SandboxName::of(fleet, target).all_of_target();
        let of_names = names.iter().filter_map(|name| seen.get(name.as_str()));
        of_names.filter(|seen| seen.waited_ms > 0).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_job_is_given_what_was_seen_under_each_of_its_names() {
        let fleet: FleetName = "demo".parse().unwrap();
        let target: Target = "owner/name@main".parse().unwrap();
        let seen_waiting = |sandbox: &str, waited_ms| LeaseSeen {
            sandbox: sandbox.to_owned(),
            sign: "a/1/7".to_owned(),
            since: DateTime::UNIX_EPOCH,
            silent_ms: 0,
            waited_ms,
        };
        let seen = SeenSandboxes::default();
        assert_eq!(seen.of_target(&fleet, &target), []);
        let [first, second, third] = SandboxName::of(&fleet, &target).all_of_target();
        seen.replace(
            [
                (first.as_str().to_owned(), seen_waiting("one", 60_000)),
                (second.as_str().to_owned(), seen_waiting("two", 30_000)),
                (third.as_str().to_owned(), seen_waiting("just-seen", 0)),
                ("hv.demo.somebody".to_owned(), seen_waiting("other", 90_000)),
            ]
            .into(),
        );
        let given: Vec<String> =
            seen.of_target(&fleet, &target).into_iter().map(|seen| seen.sandbox).collect();
        assert_eq!(given, ["one", "two"]);
        seen.replace(HashMap::new());
        assert_eq!(seen.of_target(&fleet, &target), []);
    }
}
