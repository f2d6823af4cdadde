//! Failed authentications, counted per address. Who fails too often is refused everything for a while, with a valid key
//! too, and so is whoever shares the address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::manner::FailedAuthentications;

struct Failures {
    count: u32,
    until: Instant,
    locked: bool,
}

/// Every address with failures that still count.
pub(crate) struct Lockouts {
    limit: Option<FailedAuthentications>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

/// What an address that fails is told.
enum Standing {
    Locked { left: Duration },
    Counted { remaining: u32, left: Duration },
}

impl Lockouts {
    pub(crate) fn new(limit: Option<FailedAuthentications>) -> Self {
        Self { limit, failures: Mutex::default() }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        failures.retain(|_, failures| failures.until > now);
        failures
    }

    /// How long this address is refused everything from now on.
    pub(crate) fn locked(&self, address: IpAddr) -> Option<Duration> {
        let failures = self.failures();
        let found = failures.get(&address).filter(|failures| failures.locked)?;
        Some(found.until.saturating_duration_since(Instant::now()))
    }

    fn count(&self, limit: FailedAuthentications, address: IpAddr) -> Standing {
        let until = Instant::now() + limit.period;
        let mut failures = self.failures();
        let found = failures.entry(address).or_insert(Failures { count: 0, until, locked: false });
        found.count += 1;
        if found.count >= limit.limit {
            found.locked = true;
            found.until = until;
            return Standing::Locked { left: limit.period };
        }
        Standing::Counted {
            remaining: limit.limit - found.count,
            left: found.until.saturating_duration_since(Instant::now()),
        }
    }

    /// Counts a failed authentication. The answer to the one that locks is the lock's already.
    pub(crate) fn refuse(&self, address: IpAddr, refusal: Response) -> Response {
        let Some(limit) = self.limit else { return refusal };
        match self.count(limit, address) {
            Standing::Locked { left } => self.locked_out(left),
            Standing::Counted { remaining, left } => {
                let mut refusal = refusal;
                describe(refusal.headers_mut(), limit.limit, remaining, left);
                refusal
            }
        }
    }

    pub(crate) fn locked_out(&self, left: Duration) -> Response {
        let mut response = ApiError::TooManyRequests.into_response();
        let limit = self.limit.map_or(0, |limit| limit.limit);
        describe(response.headers_mut(), limit, 0, left);
        // The only one of Daytona's limits that is told with the plain name.
        response.headers_mut().insert("retry-after", seconds(left).into());
        response
    }
}

fn seconds(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

fn describe(headers: &mut HeaderMap, limit: u32, remaining: u32, left: Duration) {
    for (name, value) in [
        ("x-ratelimit-limit-failed-auth", u64::from(limit)),
        ("x-ratelimit-remaining-failed-auth", u64::from(remaining)),
        ("x-ratelimit-reset-failed-auth", seconds(left)),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

/// Who asks: the first address of `X-Forwarded-For`, which Daytona believes of everybody, or the connection's.
pub(crate) fn address(request: &Request) -> IpAddr {
    let forwarded = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
    forwarded
        .and_then(|list| list.split(',').next())
        .and_then(|first| first.trim().parse().ok())
        .or_else(|| request.extensions().get::<ConnectInfo<SocketAddr>>().map(|connected| connected.0.ip()))
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
