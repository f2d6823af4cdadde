//! Whether a holder lives: the same sign of life at looks far enough apart means that it is dead. Pure.
//!
//! Only time in which a beat could have been seen counts, and no clock is asked: what lies between two looks is known by what made
//! the second wait. A look that fails ends the count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use daytona::Sandbox;
use job::LeaseSeen;

/// What is seen of a holder now, after `seen`, since when at least `apart` has gone by with Daytona answering at both ends.
pub(crate) fn observe(
    sandbox: &Sandbox,
    sign: &str,
    seen: Option<&LeaseSeen>,
    apart: Duration,
    now: DateTime<Utc>,
) -> LeaseSeen {
    match seen {
        // What is under way in Daytona explains a silence.
        Some(seen)
            if seen.sandbox == sandbox.id.as_str() && seen.sign == sign && !sandbox.state.is_pending() =>
        {
            let apart = u64::try_from(apart.as_millis()).unwrap_or(u64::MAX);
            LeaseSeen { silent_ms: seen.silent_ms.saturating_add(apart), ..seen.clone() }
        }
        Some(_) | None => {
            LeaseSeen { sandbox: sandbox.id.to_string(), sign: sign.to_owned(), since: now, silent_ms: 0 }
        }
    }
}

/// Dead is who was silent for so long.
pub(crate) fn is_dead(seen: &LeaseSeen, stale: Duration) -> bool {
    Duration::from_millis(seen.silent_ms) >= stale
}
