//! Variables that look like knobs and are none of any program: most likely misspelt.

use std::collections::BTreeSet;

use crate::Environment;
use crate::shipped;

/// The `HARVEST_` variables that no program reads. They do not refuse to start: Kubernetes adds variables of its own for
/// every service of the namespace.
pub(crate) fn unread(environment: &Environment) -> Vec<String> {
    let known: BTreeSet<String> = shipped::ALL
        .into_iter()
        .flat_map(|knobs| knobs.leaves().into_iter().flat_map(|(path, _)| knobs.variables(&path)))
        .collect();
    let is_of_kubernetes = |name: &str| name.contains("_SERVICE_") || name.contains("_PORT");
    environment
        .names()
        .filter(|name| name.starts_with("HARVEST_") && !known.contains(*name) && !is_of_kubernetes(name))
        .map(str::to_owned)
        .collect()
}
