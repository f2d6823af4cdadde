//! What an attempt does about the names of its target, by who stands under them. Pure: the program and the model
//! (`model.rs`) call the very same functions.
//!
//! Two attempts never hold: each makes its own sandbox first and looks at the other names after that, so one of the two sees
//! the other. Whoever stands under another name ends an attempt, unless it was passed over: silent for longer than any living
//! holder can be, and still so at the look after the create.

use std::time::Duration;

use job::LeaseSeen;
use lease::{is_dead, is_stuck};

/// Who stands under one of the target's names, as one attempt sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupant {
    /// The name is free.
    Nobody,
    /// This very attempt: the answer to its create was lost.
    Mine,
    /// Another attempt, which may live.
    Alive,
    /// Another attempt that was silent for long enough: it is deleted.
    Dead,
    /// Another attempt that was silent for longer than a name is waited for, in a state in which nothing can delete it.
    Stuck,
    /// No attempt of this fleet: it is never touched.
    Foreign,
}

/// Which of the target's occupants another attempt is, by what was seen of it. What this very process holds is alive.
pub(crate) fn occupant(seen: &LeaseSeen, is_held_here: bool, stale: Duration, stuck: Duration) -> Occupant {
    if is_held_here {
        Occupant::Alive
    } else if is_dead(seen, stale) {
        Occupant::Dead
    } else if is_stuck(seen, stuck) {
        Occupant::Stuck
    } else {
        Occupant::Alive
    }
}

/// What to do next about the name at this place in the target's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is this attempt's already.
    Adopt(usize),
    /// Create a sandbox under it.
    Create(usize),
    /// Delete who stands there, and look again.
    Remove(usize),
    /// Come again later: who stands there may live, or every name sticks.
    Wait(usize),
    /// A person decides about who stands there.
    Refuse(usize),
}

/// What to do, by who stands under the target's names, in the order that all agree on.
pub(crate) fn next_step(names: &[Occupant]) -> Step {
    let place_of = |wanted: Occupant| names.iter().position(|found| *found == wanted);
    if let Some(place) = place_of(Occupant::Mine) {
        return Step::Adopt(place);
    }
    if let Some(place) = place_of(Occupant::Foreign) {
        return Step::Refuse(place);
    }
    if let Some(place) = place_of(Occupant::Alive) {
        return Step::Wait(place);
    }
    if let Some(place) = place_of(Occupant::Dead) {
        return Step::Remove(place);
    }
    place_of(Occupant::Nobody).map_or(Step::Wait(0), Step::Create)
}

/// A sandbox that stuck, and the sign of life it last showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PassedOver<Id, Sign> {
    pub(crate) id: Id,
    pub(crate) sign: Sign,
}

/// Whether a create made this attempt the holder: under every other name is nobody, or who was passed over and still shows no life.
pub(crate) fn became_holder<Id: PartialEq, Sign: PartialEq>(
    others: &[(Id, Sign)],
    passed: &[PassedOver<Id, Sign>],
) -> bool {
    others.iter().all(|(id, sign)| passed.iter().any(|stuck| stuck.id == *id && stuck.sign == *sign))
}

/// Whether a holder may go on: under every other name is nobody, or who was passed over. That one, waking up, finds itself not
/// the holder by this very rule.
pub(crate) fn may_go_on<Id: PartialEq, Sign>(others: &[Id], passed: &[PassedOver<Id, Sign>]) -> bool {
    others.iter().all(|id| passed.iter().any(|stuck| stuck.id == *id))
}
