//! Daytona as the protocol sees it: who stands under each name, and what looks at it show.

use std::time::Duration;

use chrono::DateTime;
use job::LeaseSeen;
use lease::{Sighting, observe};

use super::super::rules::{Occupant, occupant};

/// The time between two looks, and the patience with who is silent: in the model one interval is long enough.
pub(super) const APART: Duration = Duration::from_secs(1);
/// What is known of the time since the looks that came with a message: nothing.
pub(super) const AT_ONCE: Duration = Duration::ZERO;

/// A sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Standing {
    pub(super) id: SandboxNumber,
    pub(super) beat: u8,
    /// Something is under way in it that does not end: nothing can delete it.
    pub(super) sticks: bool,
}

/// Never given twice: the attempt, which the labels say, and which of its creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SandboxNumber {
    pub(super) attempt: u8,
    pub(super) create: u8,
}

/// What was seen of a sandbox before: it and its beat, and whether at two looks already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seen {
    pub(super) id: SandboxNumber,
    pub(super) beat: u8,
    pub(super) silent: bool,
    pub(super) waited: bool,
}

impl Standing {
    /// What a look shows of it, so long after `before`, and which occupant that makes it, by the program's own rules.
    pub(super) fn look(self, before: Option<Seen>, apart: Duration, patience: Duration) -> (Seen, Occupant) {
        let text = |id: SandboxNumber| format!("{}.{}", id.attempt, id.create);
        let milliseconds = |long: bool| if long { 1000 } else { 0 };
        let before = before.map(|seen| LeaseSeen {
            sandbox: text(seen.id),
            sign: seen.beat.to_string(),
            since: DateTime::UNIX_EPOCH,
            silent_ms: milliseconds(seen.silent),
            waited_ms: milliseconds(seen.waited),
        });
        let (sandbox, sign) = (text(self.id), self.beat.to_string());
        let sighting = Sighting { sandbox: &sandbox, sign: &sign, pending: self.sticks };
        let seen = observe(sighting, before.as_ref(), apart, DateTime::UNIX_EPOCH);
        let found = occupant(&seen, false, patience, patience);
        let (silent, waited) = (seen.silent_ms > 0, seen.waited_ms > 0);
        (Seen { id: self.id, beat: self.beat, silent, waited }, found)
    }
}

/// How long a holder may be silent: not at all where one look is enough.
pub(super) fn patience(one_look_is_enough: bool) -> Duration {
    if one_look_is_enough { Duration::ZERO } else { APART }
}
