//! Control messages: told to every process that listens at the moment, and to nobody later. What must not be lost goes
//! elsewhere.

use std::time::Duration;

use backoff::jittered;
use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::error::{BrokerError, PublishError};
use crate::link::Link;
use crate::publish::{Outgoing, Routing, properties};
use crate::{Broker, Publisher};

const CONTROL_TYPE: &str = "harvest.control";
const BUFFERED: usize = 64;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_PATIENCE: Duration = Duration::from_secs(5);
const ERROR_PAUSE: Duration = Duration::from_millis(250);

/// Control messages as they come.
#[derive(Debug)]
pub struct Control {
    messages: mpsc::Receiver<Vec<u8>>,
    _task: AbortOnDropHandle<()>,
}

impl Control {
    /// The next one; none once the broker handle is closed.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.messages.recv().await
    }
}

impl Publisher {
    /// Tells every process that listens.
    pub async fn publish_control(&self, body: Vec<u8>) -> Result<(), PublishError> {
        let message = Outgoing {
            exchange: self.topology.control_exchange(),
            routing_key: String::new(),
            properties: properties(CONTROL_TYPE, &Uuid::now_v7().to_string()),
            body,
            routing: Routing::Optional,
        };
        self.publish(&message).await
    }
}

impl Broker {
    /// Listens, through lost connections; what is said while there is none is missed.
    pub fn follow_control(&self) -> Control {
        let (sender, messages) = mpsc::channel(BUFFERED);
        let (link, exchange) = (self.inner.consume.clone(), self.topology().control_exchange());
        let stop = self.inner.stop.clone();
        let task = self.inner.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listen(link, exchange, sender) => {}
            }
        });
        Control { messages, _task: AbortOnDropHandle::new(task) }
    }
}

async fn listen(link: Link, exchange: String, sender: mpsc::Sender<Vec<u8>>) {
    loop {
        match subscribe(&link, &exchange).await {
            Ok((_channel, mut consumer)) => {
                while let Some(Ok(delivery)) = consumer.next().await {
                    if sender.send(delivery.data).await.is_err() {
                        return;
                    }
                    if !matches!(delivery.acker.ack(BasicAckOptions::default()).await, Ok(true)) {
                        break;
                    }
                }
            }
            Err(error) => {
                tracing::debug!(error = %error_chain::line(&error), "cannot listen to control messages, trying on");
            }
        }
        sleep(jittered(ERROR_PAUSE)).await;
    }
}

async fn subscribe(link: &Link, exchange: &str) -> Result<(Channel, Consumer), BrokerError> {
    let live = link.live(CONNECTION_PATIENCE).await?;
    let channel = live.channel().await?;
    let subscribed = timeout(REQUEST_TIMEOUT, async {
        let options = QueueDeclareOptions::exclusive().auto_delete();
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                exchange.into(),
                "".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), FieldTable::default()).await
    })
    .await;
    match subscribed {
        Ok(consumer) => Ok((channel, consumer?)),
        Err(_elapsed) => Err(BrokerError::Silent(REQUEST_TIMEOUT)),
    }
}
