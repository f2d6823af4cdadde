//! Times as people read them: relative first, absolute beside it, always UTC.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `850ms`, `12s`, `3m 20s`, `2h 5m`, `3d 4h`: two units, the smaller left out when it is zero.
pub(crate) fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let (large, large_unit, small, small_unit) = if seconds < MINUTE {
        (seconds, "s", 0, "")
    } else if seconds < HOUR {
        (seconds / MINUTE, "m", seconds % MINUTE, "s")
    } else if seconds < DAY {
        (seconds / HOUR, "h", seconds % HOUR / MINUTE, "m")
    } else {
        (seconds / DAY, "d", seconds % DAY / HOUR, "h")
    };
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

/// `4m ago`; clocks differ, so what is slightly ahead of ours is `now`.
pub(crate) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = since(then, now);
    if passed < Duration::from_secs(1) { "now".to_owned() } else { format!("{} ago", length(passed)) }
}

/// A time and how long ago: `2026-11-23T10:00:00Z (4m ago)`.
pub(crate) fn at(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", absolute(then), ago(then, now))
}

/// RFC 3339, whole seconds.
pub(crate) fn absolute(then: DateTime<Utc>) -> String {
    then.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long ago; zero when it is ahead.
pub(crate) fn since(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        for (milliseconds, expected) in [
            (0, "0ms"),
            (850, "850ms"),
            (12_900, "12s"),
            (60_000, "1m"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(length(Duration::from_millis(milliseconds)), expected);
        }
    }

    #[test]
    fn what_is_ahead_of_our_clock_is_now() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(ago(now + chrono::Duration::minutes(5), now), "now");
        assert_eq!(at(now - chrono::Duration::seconds(90), now), "2026-11-23T09:58:30Z (1m 30s ago)");
    }
}
