//! When a tick is due. Pure: the register says what was fired, the clock says what time it is.
//!
//! However many ticks were missed, one is fired: the jobs of all of them would bring the same targets up to date.

use std::time::Duration;

use chrono::{DateTime, Utc};
use job::Tick;

/// What the schedule says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Fire this tick now.
    Fire(Tick, Firing),
    /// Nothing before this time.
    Wait(DateTime<Utc>),
}

/// Why a tick is fired now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firing {
    /// Its time has come.
    OnTime,
    /// The fleet has never fired one; its first builds need not wait for the next.
    First,
    /// Nobody fired the ticks before it, this many of them.
    Missed(u64),
}

/// What to do about the schedule that fires each `every`, after `last` was dealt with.
pub fn due(last: Option<Tick>, now: DateTime<Utc>, every: Duration) -> Due {
    let latest = Tick::at_or_before(now, every);
    let Some(last) = last else { return Due::Fire(latest, Firing::First) };
    if latest <= last {
        // The clock may have been set back, or `every` made longer: no tick is fired twice, none before its time.
        let next = Tick::at_or_before(last.time(), every).next(every);
        return Due::Wait(next.time());
    }
    let passed = (latest.time() - last.time()).to_std().unwrap_or_default().as_secs();
    match passed.div_ceil(every.as_secs().max(1)) {
        0 | 1 => Due::Fire(latest, Firing::OnTime),
        ticks => Due::Fire(latest, Firing::Missed(ticks - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_HOUR: Duration = Duration::from_mins(30);

    fn time(clock: &str) -> DateTime<Utc> {
        format!("2026-11-23T{clock}Z").parse().unwrap()
    }

    fn tick(clock: &str) -> Tick {
        Tick::at_or_before(time(clock), Duration::from_secs(1))
    }

    #[test]
    fn the_table_of_the_schedule() {
        let table = [
            (None, "10:12:00", HALF_HOUR, Due::Fire(tick("10:00:00"), Firing::First)),
            (Some("10:00:00"), "10:00:00", HALF_HOUR, Due::Wait(time("10:30:00"))),
            (Some("10:00:00"), "10:29:59", HALF_HOUR, Due::Wait(time("10:30:00"))),
            (Some("10:00:00"), "10:30:00", HALF_HOUR, Due::Fire(tick("10:30:00"), Firing::OnTime)),
            (Some("10:00:00"), "10:31:07", HALF_HOUR, Due::Fire(tick("10:30:00"), Firing::OnTime)),
            (Some("10:00:00"), "11:05:00", HALF_HOUR, Due::Fire(tick("11:00:00"), Firing::Missed(1))),
            (Some("01:00:00"), "11:05:00", HALF_HOUR, Due::Fire(tick("11:00:00"), Firing::Missed(19))),
            // The clock was set back by an hour: what was fired is not fired again.
            (Some("10:00:00"), "09:00:00", HALF_HOUR, Due::Wait(time("10:30:00"))),
            // The schedule was changed between two ticks.
            (Some("10:30:00"), "10:45:00", Duration::from_hours(1), Due::Wait(time("11:00:00"))),
            (
                Some("10:00:00"),
                "10:10:30",
                Duration::from_mins(10),
                Due::Fire(tick("10:10:00"), Firing::OnTime),
            ),
            // An interval that does not divide the hour is still the same for every producer.
            (
                Some("10:00:00"),
                "10:05:00",
                Duration::from_mins(7),
                Due::Fire(Tick::at_or_before(time("10:05:00"), Duration::from_mins(7)), Firing::OnTime),
            ),
        ];
        for (last, now, every, expected) in table {
            assert_eq!(
                due(last.map(tick), time(now), every),
                expected,
                "last {last:?}, now {now}, every {every:?}"
            );
        }
    }
}
