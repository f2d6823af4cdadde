//! The sections of a program's settings that this crate uses. Their defaults are config/*.toml's.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

/// The section `[http]`: where the program answers health checks and Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// The section `[drain]`: how a program leaves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSection {
    /// How long work may go on after SIGTERM; what is not done by then is handed on or left.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}
