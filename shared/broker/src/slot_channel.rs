//! The channel a slot and the delivery it took share: whatever befalls it ends that one delivery and no other.

use std::sync::Arc;

use lapin::Channel;

use crate::connection::LiveConnection;

/// A slot's channel and the connection it is on.
pub(crate) struct SlotChannel {
    pub(crate) channel: Channel,
    pub(crate) live: Arc<LiveConnection>,
}

impl SlotChannel {
    pub(crate) fn is_gone(&self) -> bool {
        self.live.is_lost() || !self.channel.status().connected()
    }
}
