//! Whether a holder lives: the same sign at two polls far enough apart means that it is dead. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use daytona::Sandbox;
use job::LeaseSeen;

/// The first time this sign of life was seen: now, unless an earlier poll saw the same.
pub(crate) fn first_seen(
    sandbox: &Sandbox,
    sign: &str,
    seen: Option<&LeaseSeen>,
    now: DateTime<Utc>,
) -> LeaseSeen {
    match seen {
        Some(seen) if seen.sandbox == sandbox.id.as_str() && seen.sign == sign => seen.clone(),
        Some(_) | None => LeaseSeen { sandbox: sandbox.id.to_string(), sign: sign.to_owned(), since: now },
    }
}

/// Dead is who showed the same sign for so long, while nothing is under way that would explain it.
pub(crate) fn is_dead(sandbox: &Sandbox, seen: &LeaseSeen, stale: Duration, now: DateTime<Utc>) -> bool {
    let silent = (now - seen.since).to_std().unwrap_or(Duration::ZERO);
    !sandbox.state.is_pending() && silent >= stale
}
