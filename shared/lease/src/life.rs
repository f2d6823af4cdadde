//! Whether a holder lives: the same sign of life at looks far enough apart means that it is dead. Pure.
//!
//! Only time in which a beat could have been seen counts, and no clock is asked: what lies between two looks is known by what made
//! the second wait. A look that fails ends the count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::{Envelope, LeaseSeen, OutcomeWord};

/// What one look shows of a holder.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Daytona's id of the sandbox.
    pub sandbox: &'a str,
    /// Its sign of life.
    pub sign: &'a str,
    /// Whether something is under way in Daytona, which explains a silence.
    pub pending: bool,
}

/// What is seen of a holder now, after `seen`, since when at least `apart` has gone by with Daytona answering at both ends.
pub fn observe(
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

/// How long it is, at the least, since the looks that a message carries. Only a message that waited in a delay queue after them is
/// known to have taken any time: what the keeper has seen travels with a job that may be delivered at once.
pub fn since_message_looked(envelope: &Envelope, busy_delay: Duration) -> Duration {
    let waited = envelope.history.last().is_some_and(|attempt| attempt.outcome == OutcomeWord::Busy);
    if waited { busy_delay } else { Duration::ZERO }
}

/// Dead is who was silent for so long.
pub fn is_dead(seen: &LeaseSeen, stale: Duration) -> bool {
    Duration::from_millis(seen.silent_ms) >= stale
}

/// A name sticks whose holder was silent for so long, whatever Daytona says is under way.
pub fn is_stuck(seen: &LeaseSeen, stuck: Duration) -> bool {
    Duration::from_millis(seen.waited_ms) >= stuck
}

#[cfg(test)]
mod tests {
    use job::{AttemptId, AttemptSummary};

    use super::*;

    fn at<'a>(sandbox: &'a str, sign: &'a str) -> Sighting<'a> {
        Sighting { sandbox, sign, pending: false }
    }

    #[test]
    fn a_holder_is_dead_when_it_was_silent_at_looks_enough() {
        let (stale, apart) = (Duration::from_mins(3), Duration::from_secs(30));
        // A clock that is wrong by an hour, at every other look.
        let clocks: [DateTime<Utc>; 2] =
            ["2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"].map(|time| time.parse().unwrap());
        let silent = |looks: usize| {
            let mut seen = None;
            for number in 0..looks {
                seen = Some(observe(at("one", "a/1/7"), seen.as_ref(), apart, clocks[number % 2]));
            }
            seen.unwrap()
        };
        assert!(!is_dead(&silent(6), stale), "150 s between the first and the last");
        assert!(is_dead(&silent(7), stale));
        assert_eq!(silent(7).since, clocks[0]);

        let beating = observe(at("one", "a/1/8"), Some(&silent(9)), apart, clocks[1]);
        assert_eq!((beating.silent_ms, beating.since), (0, clocks[1]));
        assert_eq!(observe(at("two", "a/1/7"), Some(&silent(9)), apart, clocks[1]).silent_ms, 0);
        let capturing = Sighting { pending: true, ..at("one", "a/1/7") };
        let seen = observe(capturing, Some(&silent(9)), apart, clocks[1]);
        assert!(!is_dead(&seen, stale), "a pending state counts as alive");
    }

    #[test]
    fn a_look_that_follows_at_once_adds_nothing_but_a_beat_ends_all() {
        let (stale, apart) = (Duration::from_mins(3), Duration::from_secs(30));
        let now = DateTime::UNIX_EPOCH;
        let first = observe(at("one", "a/1/7"), None, apart, now);
        let mut seen = observe(at("one", "a/1/7"), Some(&first), apart, now);
        for _ in 0..100 {
            seen = observe(at("one", "a/1/7"), Some(&seen), Duration::ZERO, now);
        }
        assert_eq!((seen.silent_ms, seen.waited_ms), (30_000, 30_000));
        assert!(!is_dead(&seen, stale) && !is_stuck(&seen, apart * 2));
        let beaten = observe(at("one", "a/1/8"), Some(&seen), Duration::ZERO, now);
        assert_eq!((beaten.silent_ms, beaten.waited_ms), (0, 0));
    }

    #[test]
    fn only_a_message_that_waited_adds_to_what_it_tells() {
        let busy_delay = Duration::from_secs(30);
        let first = Envelope::first(DateTime::UNIX_EPOCH, [].into());
        assert_eq!(since_message_looked(&first, busy_delay), Duration::ZERO, "it may be delivered at once");
        let ended = |outcome| AttemptSummary {
            number: 1,
            attempt: AttemptId::new(),
            ended_at: DateTime::UNIX_EPOCH,
            outcome,
            failure: None,
            stage: None,
            worker: "worker-1".into(),
        };
        let busy = first.clone().remember(ended(OutcomeWord::Busy));
        assert_eq!(since_message_looked(&busy, busy_delay), busy_delay);
        let failed = busy.remember(ended(OutcomeWord::Failed));
        assert_eq!(since_message_looked(&failed, busy_delay), Duration::ZERO);
    }
}
