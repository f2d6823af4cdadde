//! Confirm channels, pooled: opening one costs milliseconds, and a channel with an unanswered publish must never be used
//! again by somebody else.

use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, RecycleError, RecycleResult};
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;

use crate::connection::LiveConnection;
use crate::error::BrokerError;
use crate::link::Link;
use std::sync::Arc;

/// More than any process publishes at once; beyond it publishers wait for each other.
const MAX_CHANNELS: usize = 64;

/// Makes and judges confirm channels.
pub(crate) struct ConfirmChannels {
    link: Link,
    patience: Duration,
}

/// A channel with confirms, and the connection it is on.
pub(crate) struct ConfirmChannel {
    pub(crate) channel: Channel,
    pub(crate) live: Arc<LiveConnection>,
}

impl managed::Manager for ConfirmChannels {
    type Type = ConfirmChannel;
    type Error = BrokerError;

    async fn create(&self) -> Result<ConfirmChannel, BrokerError> {
        let live = self.link.live(self.patience).await?;
        let channel = live.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(ConfirmChannel { channel, live })
    }

    async fn recycle(&self, kept: &mut ConfirmChannel, _: &Metrics) -> RecycleResult<BrokerError> {
        if kept.live.is_lost() || !kept.channel.status().connected() {
            return Err(RecycleError::message("the channel is gone"));
        }
        Ok(())
    }
}

pub(crate) type ChannelPool = Pool<ConfirmChannels>;

pub(crate) fn confirm_channels(link: Link, patience: Duration) -> ChannelPool {
    Pool::builder(ConfirmChannels { link, patience })
        .max_size(MAX_CHANNELS)
        .build()
        .unwrap_or_else(|error| unreachable!("a pool without timeouts needs no runtime: {error}"))
}

/// A channel taken from the pool. It goes back only through [`Checkout::give_back`]: a publish that failed or was dropped
/// half-way leaves an open question on its channel, and the channel goes with it.
pub(crate) struct Checkout(Option<Object<ConfirmChannels>>);

impl Checkout {
    pub(crate) fn new(object: Object<ConfirmChannels>) -> Self {
        Self(Some(object))
    }

    pub(crate) fn get(&self) -> &ConfirmChannel {
        match &self.0 {
            Some(object) => object,
            None => unreachable!("only giving it back empties it, and that takes self"),
        }
    }

    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
