//! How fast Daytona is asked again.
//!
//! The rate limit is shared by the whole organization, and a thousand builds polling in step would meet it.

use std::time::Duration;

use backoff::Backoff;

/// For a state that changes within seconds to minutes.
pub const STATE: Backoff = Backoff::constant(Duration::from_millis(500), 1.5, Duration::from_secs(5));

/// For measuring a cold start: what it adds to the measure stays below 25 ms in the first half second.
pub const COLD_START: Backoff = Backoff::constant(Duration::from_millis(20), 1.1, Duration::from_millis(250));

/// For a capture, which takes minutes.
pub const CAPTURE: Backoff = Backoff::constant(Duration::from_secs(2), 1.3, Duration::from_secs(10));

/// For repeating a call that failed on the way.
pub const REPEAT: Backoff = Backoff::constant(Duration::from_millis(250), 3.0, Duration::from_secs(5));
