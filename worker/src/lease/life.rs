//! Whether a holder lives: the same sign of life at looks far enough apart means that it is dead. Pure.
//!
//! Only time in which a beat could have been seen counts, and no clock is asked: what lies between two looks is known by what made
//! the second wait. A look that fails ends the count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::LeaseSeen;

use super::rules::Occupant;

/// What one look shows of a holder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting<'a> {
    /// Daytona's id of the sandbox.
    pub(crate) sandbox: &'a str,
    /// Its sign of life.
    pub(crate) sign: &'a str,
    /// Whether something is under way in Daytona, which explains a silence.
    pub(crate) pending: bool,
}

/// What is seen of a holder now, after `seen`, since when at least `apart` has gone by with Daytona answering at both ends.
pub(crate) fn observe(
    sighting: Sighting<'_>,
    seen: Option<&LeaseSeen>,
    apart: Duration,
    now: DateTime<Utc>,
) -> LeaseSeen {
    match seen {
        Some(seen) if seen.sandbox == sighting.sandbox && seen.sign == sighting.sign => {
            let apart = u64::try_from(apart.as_millis()).unwrap_or(u64::MAX);
            LeaseSeen {
                silent_ms: if sighting.pending { 0 } else { seen.silent_ms.saturating_add(apart) },
                waited_ms: seen.waited_ms.saturating_add(apart),
                ..seen.clone()
            }
        }
        Some(_) | None => LeaseSeen {
            sandbox: sighting.sandbox.to_owned(),
            sign: sighting.sign.to_owned(),
            since: now,
            silent_ms: 0,
            waited_ms: 0,
        },
    }
}

/// Dead is who was silent for so long.
pub(crate) fn is_dead(seen: &LeaseSeen, stale: Duration) -> bool {
    Duration::from_millis(seen.silent_ms) >= stale
}

/// A name sticks whose holder was silent for so long, whatever Daytona says is under way.
pub(crate) fn is_stuck(seen: &LeaseSeen, stuck: Duration) -> bool {
    Duration::from_millis(seen.waited_ms) >= stuck
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
