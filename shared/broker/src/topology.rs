//! Every exchange, queue and binding of a fleet, as one value: the declaration and the documentation are both made of it,
//! so they cannot disagree.
//!
//! Arguments are immutable in RabbitMQ: whoever changes one here changes a deployed fleet's queues by name or by hand.

use std::time::Duration;

use job::FleetName;
use serde::Deserialize;
use strum::{EnumString, IntoStaticStr};

mod declare;
mod markdown;
mod objects;

pub(crate) use declare::Extent;
pub use objects::{Argument, Binding, Exchange, ExchangeType, QueueObject, RetryQueue};

const MAX_LENGTH: i64 = 1_000_000;
/// Longer than any attempt; 3.10 ignores it and knows only rabbitmq.conf's `consumer_timeout`.
const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_hours(3);
/// Deliveries without an end before the broker itself gives up: the backstop behind our own count.
const DELIVERY_LIMIT: i64 = 20;
/// "Unlimited" that every version understands: 4.x has 20 by default, and 3.10 drops at the first requeue with -1.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The queues workers take from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr, Deserialize,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum WorkQueue {
    /// Attempts that a leaving worker handed on; taken first.
    Resume,
    /// What somebody asked for.
    OnDemand,
    /// Jobs that the schedule made; taken last.
    Refresh,
}

impl WorkQueue {
    /// All, in the order they are taken from.
    pub const BY_PRIORITY: [Self; 3] = [Self::Resume, Self::OnDemand, Self::Refresh];

    /// The routing key, and the word in names, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What only one process may hold at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockName {
    /// Makes its holder the active producer.
    Producer,
    /// The operator at the dead letters.
    DeadLetters,
    /// Who asks Daytona whether it takes a key by now that it refused: the key of this number.
    KeyProber(u64),
}

/// Every exchange, queue and binding of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    prefix: String,
    retries: Vec<RetryQueue>,
    exchanges: Vec<Exchange>,
    queues: Vec<QueueObject>,
    bindings: Vec<Binding>,
}

impl Topology {
    /// The topology of a fleet with these delays, shortest first.
    pub fn new(fleet: &FleetName, delays: &[Duration]) -> Self {
        let prefix = format!("harvest.{fleet}");
        let mut delays = delays.to_vec();
        delays.sort_unstable();
        // Two of one length would be one queue, declared twice.
        delays.dedup();
        let retries = delays
            .into_iter()
            .map(|delay| RetryQueue { delay, name: format!("{prefix}.retry.{}", delay_word(delay)) })
            .collect();
        let mut this =
            Self { prefix, retries, exchanges: Vec::new(), queues: Vec::new(), bindings: Vec::new() };
        this.add_work();
        this.add_retries();
        this.add_dead();
        this.add_streams();
        let control = this.control_exchange();
        this.exchange(control, ExchangeType::Fanout, "tells every process: cancel, pause, brake");
        this
    }

    fn add_work(&mut self) {
        let jobs = self.jobs_exchange();
        self.exchange(jobs.clone(), ExchangeType::Direct, "jobs to their work queue");
        for queue in WorkQueue::BY_PRIORITY {
            let name = self.work_queue(queue);
            let purpose = match queue {
                WorkQueue::Resume => "attempts a leaving worker handed on; taken first",
                WorkQueue::OnDemand => "jobs somebody asked for; taken second",
                WorkQueue::Refresh => "the schedule's jobs",
            };
            let mut arguments = quorum(DELIVERY_LIMIT);
            arguments.extend(at_least_once_to(&self.dlx()));
            arguments.push(("x-max-length", Argument::Number(MAX_LENGTH)));
            arguments.push(("x-consumer-timeout", milliseconds(ACKNOWLEDGEMENT_TIMEOUT)));
            self.queue(name.clone(), arguments, purpose);
            self.bind(jobs.clone(), name, queue.as_str());
        }
    }

    fn add_retries(&mut self) {
        let jobs = self.jobs_exchange();
        for RetryQueue { delay, name } in self.retries.clone() {
            self.exchange(
                name.clone(),
                ExchangeType::Fanout,
                "jobs to the delay queue, keeping their routing key",
            );
            // No dead-letter routing key: the message's own leads it back to its own work queue.
            let mut arguments = quorum(NO_DELIVERY_LIMIT);
            arguments.extend(at_least_once_to(&jobs));
            arguments.push(("x-max-length", Argument::Number(MAX_LENGTH)));
            arguments.push(("x-message-ttl", milliseconds(delay)));
            self.queue(name.clone(), arguments, "waits, then goes back to its work queue");
            self.bind(name.clone(), name, "");
        }
    }

    fn add_dead(&mut self) {
        let (dlx, dead) = (self.dlx(), self.dead_queue());
        self.exchange(dlx.clone(), ExchangeType::Fanout, "dead letters");
        let mut arguments = quorum(NO_DELIVERY_LIMIT);
        arguments.push(("x-overflow", text("reject-publish")));
        self.queue(dead.clone(), arguments, "dead letters, until an operator deals with them");
        self.bind(dlx, dead, "");
    }

    fn add_streams(&mut self) {
        let register = stream("3D", 20_000_000);
        self.queue(self.register_stream(), register, "the state of every target, as entries per concern");
        let checkpoints = stream("3D", 1_000_000);
        self.queue(self.checkpoints_stream(), checkpoints, "where the checkpoints of the register begin");
        let ledger = stream("7D", 50_000_000);
        self.queue(self.ledger_stream(), ledger, "the story of the fleet");
    }

    fn exchange(&mut self, name: String, kind: ExchangeType, purpose: &'static str) {
        self.exchanges.push(Exchange { name, kind, purpose });
    }

    fn queue(&mut self, name: String, arguments: Vec<(&'static str, Argument)>, purpose: &'static str) {
        self.queues.push(QueueObject { name, arguments, purpose });
    }

    fn bind(&mut self, exchange: String, queue: String, routing_key: &str) {
        self.bindings.push(Binding { exchange, queue, routing_key: routing_key.to_owned() });
    }

    /// Every exchange of the fleet, in the order of declaration.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Every queue and stream; locks and control queues belong to a connection and are not among them.
    pub fn queues(&self) -> &[QueueObject] {
        &self.queues
    }

    /// Every binding of the fleet, in the order of declaration.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The delay queues, shortest first.
    pub fn retries(&self) -> &[RetryQueue] {
        &self.retries
    }

    /// The delay queues for a wait of `wanted`, best first: from the shortest that is not shorter on, then shorter ones.
    pub fn retries_for(&self, wanted: Duration) -> impl Iterator<Item = &RetryQueue> {
        let (shorter, enough) =
            self.retries.split_at(self.retries.partition_point(|retry| retry.delay < wanted));
        enough.iter().chain(shorter.iter().rev())
    }

    /// Where jobs are published.
    pub fn jobs_exchange(&self) -> String {
        format!("{}.jobs", self.prefix)
    }

    /// The name of a work queue.
    pub fn work_queue(&self, queue: WorkQueue) -> String {
        format!("{}.work.{}", self.prefix, queue.as_str())
    }

    /// Where dead letters are published.
    pub fn dlx(&self) -> String {
        format!("{}.dlx", self.prefix)
    }

    /// Where dead letters lie.
    pub fn dead_queue(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The name of the register's stream.
    pub fn register_stream(&self) -> String {
        format!("{}.register", self.prefix)
    }

    /// The name of the stream that says where in the register's its checkpoints begin.
    pub fn checkpoints_stream(&self) -> String {
        format!("{}.register.checkpoints", self.prefix)
    }

    /// The name of the ledger's stream.
    pub fn ledger_stream(&self) -> String {
        format!("{}.ledger", self.prefix)
    }

    /// Where control messages are published.
    pub fn control_exchange(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// The exclusive queue that is a lock.
    pub fn lock_queue(&self, lock: LockName) -> String {
        match lock {
            LockName::Producer => format!("{}.producer.lock", self.prefix),
            LockName::DeadLetters => format!("{}.dead.lock", self.prefix),
            LockName::KeyProber(key) => format!("{}.key-{key:016x}.lock", self.prefix),
        }
    }
}

/// `30s`, `2m`, `1h30m`: the delay as it stands in a name.
fn delay_word(delay: Duration) -> String {
    humantime::format_duration(delay).to_string().replace(' ', "")
}

fn text(value: &str) -> Argument {
    Argument::Text(value.to_owned())
}

fn milliseconds(duration: Duration) -> Argument {
    Argument::Number(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn quorum(delivery_limit: i64) -> Vec<(&'static str, Argument)> {
    vec![("x-queue-type", text("quorum")), ("x-delivery-limit", Argument::Number(delivery_limit))]
}

/// At-least-once needs reject-publish: a queue that drops its head could not promise anything.
fn at_least_once_to(exchange: &str) -> [(&'static str, Argument); 3] {
    [
        ("x-dead-letter-exchange", text(exchange)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

/// Retention works by whole segments, so a segment must be a small part of what the window holds.
fn stream(max_age: &str, segment_bytes: i64) -> Vec<(&'static str, Argument)> {
    vec![
        ("x-queue-type", text("stream")),
        ("x-max-age", text(max_age)),
        ("x-stream-max-segment-size-bytes", Argument::Number(segment_bytes)),
    ]
}

#[cfg(test)]
mod tests;
