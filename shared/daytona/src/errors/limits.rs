//! How long Daytona asks to wait.
//!
//! Its throttlers put their own name behind the header (`Retry-After-sandbox-create`), only failed logins use
//! the plain one, and the reset headers are on every answer, so they count only where nothing remains.

use std::time::Duration;

use reqwest::header::HeaderMap;

/// Nothing Daytona limits takes longer; a larger number is a mistake or a date.
const LONGEST: Duration = Duration::from_hours(1);

/// The longest wait that the headers of a refusal name.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers
        .iter()
        .filter(|(name, _)| name.as_str() == "retry-after" || name.as_str().starts_with("retry-after-"))
        .filter_map(|(_, value)| seconds(value))
        .max();
    asked.or_else(|| resets(headers).max()).map(|wait| wait.min(LONGEST))
}

fn resets(headers: &HeaderMap) -> impl Iterator<Item = Duration> {
    headers.iter().filter_map(|(name, value)| {
        let throttler = name.as_str().strip_prefix("x-ratelimit-reset-")?;
        let remaining = headers.get(format!("x-ratelimit-remaining-{throttler}"))?;
        (seconds(remaining)? == Duration::ZERO).then(|| seconds(value)).flatten()
    })
}

fn seconds(value: &reqwest::header::HeaderValue) -> Option<Duration> {
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&'static str, &'static str)], expected: Option<u64>) {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{pairs:?}");
    }

    #[test]
    fn the_suffixed_header_is_found_and_the_longest_wins() {
        check(&[("retry-after-sandbox-create", "17")], Some(17));
        check(&[("retry-after", "3")], Some(3));
        check(&[("retry-after-authenticated", "4"), ("retry-after-sandbox-create", "9")], Some(9));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None);
        check(&[("retry-after", "-5")], None);
        check(&[("retry-after", "1790000000")], Some(3600));
        check(&[], None);
    }

    #[test]
    fn a_reset_counts_only_where_nothing_remains() {
        check(
            &[("x-ratelimit-reset-authenticated", "50"), ("x-ratelimit-remaining-authenticated", "9000")],
            None,
        );
        check(
            &[
                ("x-ratelimit-reset-authenticated", "50"),
                ("x-ratelimit-remaining-authenticated", "9000"),
                ("x-ratelimit-reset-sandbox-create", "21"),
                ("x-ratelimit-remaining-sandbox-create", "0"),
            ],
            Some(21),
        );
    }
}
