//! The ports of one node.

use serde::{Deserialize, Serialize};

use crate::ports;

/// Four different ports of loopback.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    pub(super) distribution: u16,
    pub(super) epmd: u16,
    pub(super) management: u16,
}

impl Ports {
    /// Ports that were free a moment ago.
    pub(super) fn free() -> anyhow::Result<Self> {
        let [amqp, distribution, epmd, management] = ports::free()?;
        Ok(Self { amqp, distribution, epmd, management })
    }
}
