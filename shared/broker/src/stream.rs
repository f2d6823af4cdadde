//! Reads a stream in order, without gaps and without end: reconnects, goes on after the last entry it saw, and notices
//! when the stream it comes back to is another one (the broker's data were lost), which it then reads from the start.

use std::sync::Arc;
use std::time::Duration;

use backoff::jittered;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
#[cfg(test)]
use uuid::Uuid;

use crate::connection::LiveConnection;
use crate::error::BrokerError;
use crate::headers::HeaderReader;
use crate::link::Link;
use crate::message::sent_at;

/// Unacknowledged entries on their way; acknowledging is what asks for more.
const PREFETCH: u16 = 500;
const ACK_EVERY: u16 = PREFETCH / 4;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_PATIENCE: Duration = Duration::from_secs(5);
const ERROR_PAUSE: Duration = Duration::from_millis(250);
/// How long the entry we saw last may take to come again before we conclude that it is gone.
const RESUME_TIMEOUT: Duration = Duration::from_secs(5);

/// Where in a stream reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest entry kept.
    First,
    /// With what is published from now on.
    Next,
    /// With the last chunk: the newest entry, and perhaps some that were written together with it.
    LastChunk,
    /// With the first entry at or after this time.
    Time(DateTime<Utc>),
    /// With the first entry not older than this.
    Last(Duration),
}

/// What comes out of a reader.
#[derive(Debug)]
pub(crate) enum StreamItem {
    Entry(Entry),
    /// Entries have aged out of the stream before they were read.
    Missed,
    /// The stream is another one than before: forget everything.
    Restarted,
}

/// One message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) message_id: String,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
    sent: Option<DateTime<Utc>>,
}

/// The task that reads. It ends when its receiver is dropped or `stop` is cancelled.
pub(crate) struct Reader {
    link: Link,
    queue: String,
    from: ReadFrom,
    not_before: Option<DateTime<Utc>>,
    last: Option<(i64, String)>,
    /// The entry to begin with: nothing was seen yet.
    first: Option<Place>,
    sender: mpsc::Sender<StreamItem>,
    stop: CancellationToken,
}

/// Where one entry stands in its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) offset: i64,
    /// The id of the message there, since another stream of this name has other ones at the same offset.
    pub(crate) message_id: String,
}

/// Why one consumer ended.
enum ReadEnd {
    /// Nobody reads any more.
    Unwanted,
    /// To be opened again at the same place.
    Interrupted,
    /// What we saw last is not there.
    AnotherStream,
}

impl Reader {
    pub(crate) fn new(
        link: Link,
        queue: String,
        from: ReadFrom,
        stop: CancellationToken,
    ) -> (Self, mpsc::Receiver<StreamItem>) {
        let (sender, receiver) = mpsc::channel(usize::from(PREFETCH));
        let not_before = match from {
            ReadFrom::First | ReadFrom::Next | ReadFrom::LastChunk => None,
            ReadFrom::Time(time) => Some(time),
            ReadFrom::Last(age) => {
                chrono::Duration::from_std(age).ok().and_then(|age| Utc::now().checked_sub_signed(age))
            }
        };
        (Self { link, queue, from, not_before, last: None, first: None, sender, stop }, receiver)
    }

    /// Begins with the entry at this place. Where it is not, the stream is another one.
    pub(crate) fn begin_at(self, place: Place) -> Self {
        Self { first: Some(place), ..self }
    }

    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        let sender = self.sender.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = sender.closed() => {}
            () = self.read_for_ever() => {}
        }
    }

    async fn read_for_ever(&mut self) {
        loop {
            match self.read_once().await {
                Ok(ReadEnd::Unwanted) => return,
                Ok(ReadEnd::Interrupted) => {
                    tracing::debug!(stream = self.queue, "reading interrupted, going on");
                }
                Ok(ReadEnd::AnotherStream) => {
                    tracing::warn!(
                        stream = self.queue,
                        "the stream was made anew: reading it from its start"
                    );
                    (self.first, self.last) = (None, None);
                    (self.from, self.not_before) = (ReadFrom::First, None);
                    if self.sender.send(StreamItem::Restarted).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(stream = self.queue, error = %error_chain::line(&error), "cannot read the stream, trying on");
                }
            }
            sleep(jittered(ERROR_PAUSE)).await;
        }
    }

    async fn read_once(&mut self) -> Result<ReadEnd, BrokerError> {
        let live = self.link.live(CONNECTION_PATIENCE).await?;
        let (channel, mut consumer) = self.subscribe(&live).await?;
        let mut seen_last = self.last.is_none() && self.first.is_none();
        let mut unacknowledged = 0;
        loop {
            let next = if seen_last {
                consumer.next().await
            } else {
                match timeout(RESUME_TIMEOUT, consumer.next()).await {
                    Ok(next) => next,
                    Err(_elapsed) if live.is_lost() || !channel.status().connected() => {
                        return Ok(ReadEnd::Interrupted);
                    }
                    Err(_elapsed) => return Ok(ReadEnd::AnotherStream),
                }
            };
            let Some(Ok(delivery)) = next else { return Ok(ReadEnd::Interrupted) };
            unacknowledged += 1;
            if unacknowledged == ACK_EVERY {
                unacknowledged = 0;
                delivery.acker.ack(BasicAckOptions { multiple: true }).await?;
            }
            let Some(entry) = Entry::read(delivery) else { continue };
            if !seen_last {
                seen_last = true;
                if !self.continues_with(&entry) {
                    return Ok(ReadEnd::AnotherStream);
                }
                if self.last.as_ref().is_some_and(|(offset, _)| entry.offset > *offset)
                    && self.sender.send(StreamItem::Missed).await.is_err()
                {
                    return Ok(ReadEnd::Unwanted);
                }
            }
            if !self.pass_on(entry).await {
                return Ok(ReadEnd::Unwanted);
            }
        }
    }

    /// Whether this is the entry we saw last, or a later one of a stream that has dropped it meanwhile.
    fn continues_with(&self, first: &Entry) -> bool {
        match (&self.last, &self.first) {
            (Some((offset, id)), _) => {
                first.offset > *offset || (first.offset == *offset && first.message_id == *id)
            }
            (None, Some(place)) => first.offset == place.offset && first.message_id == place.message_id,
            (None, None) => true,
        }
    }

    /// False once nobody reads any more.
    async fn pass_on(&mut self, entry: Entry) -> bool {
        let old = self.last.as_ref().is_some_and(|(offset, _)| entry.offset <= *offset);
        // A time lands on the start of a chunk, which may be earlier.
        let early =
            self.not_before.zip(entry.sent).is_some_and(|(limit, sent)| sent.timestamp() < limit.timestamp());
        if old || early {
            return true;
        }
        self.last = Some((entry.offset, entry.message_id.clone()));
        self.sender.send(StreamItem::Entry(entry)).await.is_ok()
    }

    async fn subscribe(&self, live: &Arc<LiveConnection>) -> Result<(Channel, Consumer), BrokerError> {
        let channel = live.channel().await?;
        let subscribed = timeout(REQUEST_TIMEOUT, async {
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), self.offset());
            let options = BasicConsumeOptions::default();
            channel.basic_consume(self.queue.as_str().into(), "".into(), options, arguments).await
        })
        .await;
        match subscribed {
            Ok(consumer) => Ok((channel, consumer?)),
            Err(_elapsed) => {
                live.give_up();
                Err(BrokerError::Silent(REQUEST_TIMEOUT))
            }
        }
    }

    fn offset(&self) -> AMQPValue {
        // From the last entry that was seen, not the one after it: that it comes again shows that the stream is the same.
        let from_entry = self.last.as_ref().map(|(offset, _)| *offset);
        if let Some(offset) = from_entry.or(self.first.as_ref().map(|place| place.offset)) {
            return AMQPValue::LongLongInt(offset);
        }
        match (self.from, self.not_before) {
            (ReadFrom::Next, _) => AMQPValue::LongString("next".into()),
            (ReadFrom::LastChunk, _) => AMQPValue::LongString("last".into()),
            (ReadFrom::Time(time), _) | (ReadFrom::Last(_), Some(time)) => {
                AMQPValue::Timestamp(u64::try_from(time.timestamp()).unwrap_or_default())
            }
            // The latter is an age beyond the calendar.
            (ReadFrom::First, _) | (ReadFrom::Last(_), None) => AMQPValue::LongString("first".into()),
        }
    }
}

impl Entry {
    #[cfg(test)]
    pub(crate) fn example(offset: i64, kind: &str, body: Vec<u8>) -> Self {
        let message_id = Uuid::now_v7().to_string();
        Self { offset, message_id, kind: kind.to_owned(), body, sent: None }
    }

    fn read(delivery: Delivery) -> Option<Self> {
        let properties = &delivery.properties;
        let offset = HeaderReader::new(properties.headers().as_ref()).number("x-stream-offset")?;
        let text = |value: &Option<lapin::types::ShortString>| {
            value.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default()
        };
        Some(Self {
            offset,
            message_id: text(properties.message_id()),
            kind: text(properties.kind()),
            sent: sent_at(properties),
            body: delivery.data,
        })
    }
}
